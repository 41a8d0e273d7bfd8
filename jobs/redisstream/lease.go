package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// lookAgain is how often a waiting Lease looks by itself, for expired leases
// and for messages that were lost.
const lookAgain = time.Second

// rest is how long a Lease that was woken for nothing waits before it looks
// again: one task wakes all who wait, and only one gets it.
const rest = 5 * time.Millisecond

// calls numbers the calls of Lease that reach the server, one at a time. An
// answer may be lost while the server hands out tasks all the same, be it that
// it was stopped and wakes up later: the next call says which one was answered
// last, and what the others were given is due again at once. One that is
// late comes to nothing.
type calls struct {
	mu       sync.Mutex
	handle   string
	last     int64
	answered int64
}

// Lease implements driver.Leaser. The order within a queue is that in which tasks
// came due, but for those that were given back and those that this worker
// knows and others did not, which come first. A Max below 1 is refused.
func (s *Store) Lease(ctx context.Context, r driver.LeaseRequest) ([]*driver.Lease, error) {
	if r.Max < 1 {
		return nil, fmt.Errorf("lease tasks: at most %d tasks are asked for", r.Max)
	}
	var w *waiter
	for {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		leases, wait, err := s.lease(ctx, r)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, fmt.Errorf("lease tasks: %w", err)
		case len(leases) > 0:
			return leases, nil
		case wait == 0:
			continue
		}
		if w == nil {
			w = s.hub.join(s.key + ":due") // wakes it once it listens
			defer s.hub.leave(w)
		} else {
			pause(ctx, min(rest, wait))
		}
		if err := s.sleep(ctx, w, wait); err != nil {
			return nil, err
		}
	}
}

// lease asks once. wait is for how long nothing will be due by itself.
func (s *Store) lease(ctx context.Context, r driver.LeaseRequest) (leases []*driver.Lease, wait time.Duration, err error) {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.last++
	args := []any{s.calls.handle, s.calls.last, s.calls.answered, r.Owner, r.Max, s.opts.LeaseTTL.Milliseconds(),
		driver.RateSlack.Microseconds(), s.period.Milliseconds(), len(r.Queues)}
	for _, q := range r.Queues {
		args = append(args, q)
	}
	for _, n := range r.Names {
		args = append(args, n, r.Rates[n].Interval().Microseconds())
	}
	answer, err := s.run(ctx, leaseScript, args...)
	if err != nil {
		return nil, 0, err
	}
	s.calls.answered = s.calls.last
	brokenErr := s.noteQueues(r.Queues, answer)
	leases, wait, lost, err := decodeLeases(answer, r.Owner)
	if err != nil {
		return nil, 0, err
	}
	s.countLost(lost)
	if len(leases) == 0 && brokenErr != nil {
		return nil, 0, brokenErr
	}
	return leases, min(wait, lookAgain, max(s.opts.LeaseTTL/20, 5*time.Millisecond)), nil
}

// leased are the values that lease.lua returns of each lease: LEASED there, and
// what it adds.
var leased = []string{
	"name", "state", "run_at", "attempts", "version", "created", "args", "timeout", "retries", "sig",
	"group", "failures", "error", "result", "artifacts", "id", "queue", "worker", "started",
}

func decodeLeases(answer []any, owner string) (leases []*driver.Lease, wait time.Duration, lost []any, err error) {
	if len(answer) != 4 {
		return nil, 0, nil, errAnswer
	}
	lost, _ = answer[1].([]any)
	given, ok := answer[2].([]any)
	if !ok {
		return nil, 0, nil, errAnswer
	}
	us, _, err := numbers([]any{answer[0], 0})
	if wait = time.Duration(us) * time.Microsecond; us < 0 {
		wait = lookAgain
	}
	for _, each := range given {
		f, rowErr := decodeRow(leased, each)
		if rowErr != nil {
			return nil, 0, nil, rowErr
		}
		t, taskErr := f.task(f.text("id"), 0)
		if taskErr != nil {
			// Whoever wrote it: the worker refuses arguments that are no array,
			// and the task becomes a dead letter.
			t = &jobs.Task{ID: f.text("id"), Name: f.text("name"), Queue: f.text("queue"), Attempts: int(f.number("attempts"))}
		}
		leases = append(leases, &driver.Lease{Task: t, Owner: owner, Attempt: t.Attempts})
	}
	return leases, wait, lost, err
}

// countLost tells meter and log what a script says of lost leases: id, name,
// queue and state of each.
func (s *Store) countLost(lost []any) {
	restored, missing := 0, []string(nil)
	for _, each := range lost {
		v, ok := each.([]any)
		if !ok || len(v) != 4 {
			continue
		}
		id, name, queue := fmt.Sprint(v[0]), fmt.Sprint(v[1]), fmt.Sprint(v[2])
		switch v[3] {
		case "restored":
			restored++
			s.opts.Meter.Count(meter.EventRestored, name, queue)
			continue
		case "missing":
			missing = append(missing, id)
			s.opts.Meter.Count(meter.EventMissing, name, queue)
			continue
		}
		if name != malformed {
			s.opts.Meter.Count(meter.EventRedelivered, name, queue)
		}
		if v[3] == string(jobs.StateDead) {
			s.opts.Meter.Count(meter.EventDead, name, queue)
			s.opts.Logger.Warn("task is a dead letter", "id", id, "task", name, "queue", queue)
		}
	}
	if restored > 0 {
		s.opts.Logger.Warn("tasks are back in their queues: somebody deleted keys of Redis that held them", "tasks", restored)
	}
	if len(missing) > 0 {
		s.opts.Logger.Error("tasks are lost: Redis has their ids but not their data, which was deleted or evicted",
			"tasks", len(missing), "first", missing[0])
	}
}

// noteQueues tells the log of queues that cannot be served, as lease.lua lists
// them, and of those that can again. The error is that of the first, if there is
// no other queue.
func (s *Store) noteQueues(queues []string, answer []any) error {
	if len(answer) != 4 {
		return nil // decodeLeases says so
	}
	list, _ := answer[3].([]any)
	broken := map[string]error{}
	for _, each := range list {
		if v, ok := each.([]any); ok && len(v) == 2 {
			broken[fmt.Sprint(v[0])] = scriptError(fmt.Sprint(v[1]))
		}
	}
	var first error
	for _, q := range queues {
		if err := broken[q]; err != nil {
			s.troubles.Note(troubleQueue, q, err, "queue", q)
			first = cmp.Or(first, fmt.Errorf("queue %s: %w", q, unavailable(err)))
		} else {
			s.troubles.Over(troubleQueue, q, "queue can be served again", "queue", q)
		}
	}
	if len(broken) < len(queues) {
		return nil
	}
	return first
}

// malformed is the name of what was found in a stream and is no task.
const malformed = "malformed"

// sleep returns when there is reason to look again.
func (s *Store) sleep(ctx context.Context, w *waiter, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.wake:
		return nil
	case <-timer.C:
		return nil
	case <-s.closed:
		return fmt.Errorf("lease tasks: %w", errClosed)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// fence is a lease as scripts check it.
func fence(l *driver.Lease) []any { return []any{l.Task.ID, l.Owner, l.Attempt} }

// held reads the answer of a script that returns 1, or 0 for a lost lease.
func held(answer []any, err error) error {
	switch {
	case err != nil:
		return err
	case len(answer) != 1:
		return errAnswer
	case answer[0] != int64(1):
		return jobs.ErrLeaseLost
	}
	return nil
}

// Extend implements driver.Leaser. The leases last LeaseTTL from now.
func (s *Store) Extend(ctx context.Context, leases []*driver.Lease) ([]*driver.Lease, error) {
	lost, err := s.askLeases(ctx, extendScript, leases)
	if err != nil {
		return nil, fmt.Errorf("extend leases: %w", err)
	}
	return lost, nil
}

// askLeases runs a script that says of each lease whether it is held.
func (s *Store) askLeases(ctx context.Context, script *redis.Script, leases []*driver.Lease) (lost []*driver.Lease, err error) {
	if len(leases) == 0 {
		return nil, nil
	}
	var args []any
	for _, l := range leases {
		args = append(args, fence(l)...)
	}
	answer, err := s.run(ctx, script, args...)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(leases) {
		return nil, errAnswer
	}
	for i, l := range leases {
		if answer[i] != int64(1) {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

// Release implements driver.Leaser. The task keeps its place in front of what came
// due later.
func (s *Store) Release(ctx context.Context, l *driver.Lease) error {
	if err := held(s.call(ctx, releaseScript, fence(l)...)); err != nil {
		return fmt.Errorf("release task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Reclaim implements driver.Leaser. The tasks are due from now on, behind what
// was due before: one of them may have killed the worker. Those that lost their
// worker for the last time are dead, and counted too.
func (s *Store) Reclaim(ctx context.Context, owner string) (int, error) {
	answer, err := s.run(ctx, reclaimScript, owner)
	if err != nil {
		return 0, fmt.Errorf("reclaim tasks of %s: %w", owner, err)
	}
	s.countLost(answer)
	return len(answer), nil
}
