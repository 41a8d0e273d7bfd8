package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// pollInterval is the longest time after which a waiting Lease reads again although no
// message has arrived: no message announces expired leases, and messages may be lost.
const pollInterval = time.Second

// wakeDelay is the delay after a wake-up that found no task: one task wakes all waiting
// workers, and only one of them gets it.
const wakeDelay = 5 * time.Millisecond

// calls numbers the calls of lease.lua. Only one call runs at a time. The server may lease
// tasks although the reply is lost, for example when a stopped server continues later.
// Therefore each call sends its number and the number of the last call whose reply arrived.
// The script releases the tasks that were leased by calls between these two. It leases
// nothing if a call with the same or a higher number has already run.
type calls struct {
	mu        sync.Mutex
	handle    string // random id of this Store
	last      int64  // number of the last call
	confirmed int64  // number of the last call whose reply arrived
}

// Lease implements driver.Leaser. Within a queue, tasks are leased in the order in which
// they became due, with these exceptions: suspects, released tasks and tasks that another
// worker could not run come first.
func (s *Store) Lease(ctx context.Context, r driver.LeaseRequest) ([]*driver.Lease, error) {
	if r.Max < 1 {
		return nil, fmt.Errorf("lease tasks: LeaseRequest.Max is %d; it must be at least 1", r.Max)
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
			w = s.hub.join(s.key + ":due") // w is woken when the channel is subscribed
			defer s.hub.leave(w)
		} else {
			sleep.For(ctx, min(wakeDelay, wait))
		}
		if err := s.sleep(ctx, w, wait); err != nil {
			return nil, err
		}
	}
}

// lease calls lease.lua once. wait is the time until the next task is due.
func (s *Store) lease(ctx context.Context, r driver.LeaseRequest) (leases []*driver.Lease, wait time.Duration, err error) {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.last++
	args := []any{s.calls.handle, s.calls.last, s.calls.confirmed, r.Owner, r.Max, s.opts.LeaseTTL.Milliseconds(),
		driver.RateSlack.Microseconds(), s.period.Milliseconds(), len(r.Queues)}
	for _, q := range r.Queues {
		args = append(args, q)
	}
	for _, n := range r.Names {
		args = append(args, n, r.Rates[n].Interval().Microseconds())
	}
	reply, err := s.run(ctx, leaseScript, args...)
	if err != nil {
		return nil, 0, err
	}
	if len(reply) == 0 { // go-redis has sent the call twice; the next call releases what the first run leased
		return nil, 0, nil
	}
	s.calls.confirmed = s.calls.last
	brokenErr := s.reportQueues(r.Queues, reply)
	leases, wait, lost, err := decodeLeases(reply, r.Owner)
	if err != nil {
		return nil, 0, err
	}
	s.reportLost(lost)
	if len(leases) == 0 && brokenErr != nil {
		return nil, 0, brokenErr
	}
	return leases, min(wait, pollInterval, max(s.opts.LeaseTTL/20, 5*time.Millisecond)), nil
}

// leased names the values that lease.lua returns for each lease: LEASED in that file, and
// those that follow it.
var leased = []string{
	"name", "state", "run_at", "attempts", "version", "created", "args", "timeout", "retries", "sig",
	"group", "failures", "error", "result", "artifacts", "kwargs", "headers", "lost", "id", "queue", "worker", "started",
}

func decodeLeases(reply []any, owner string) (leases []*driver.Lease, wait time.Duration, lost []any, err error) {
	if len(reply) != 4 {
		return nil, 0, nil, errReply
	}
	lost, _ = reply[1].([]any)
	given, ok := reply[2].([]any)
	if !ok {
		return nil, 0, nil, errReply
	}
	us, _, err := numbers([]any{reply[0], 0})
	if wait = time.Duration(us) * time.Microsecond; us < 0 {
		wait = pollInterval
	}
	for _, each := range given {
		f, rowErr := decodeRow(leased, each)
		if rowErr != nil {
			return nil, 0, nil, rowErr
		}
		t, taskErr := f.task(f.text("id"), 0)
		if taskErr != nil {
			// The hash cannot be decoded. The worker gets a task without arguments; it
			// refuses that task, which then becomes a dead letter.
			t = &jobs.Task{ID: f.text("id"), Name: f.text("name"), Queue: f.text("queue"), Attempts: int(f.number("attempts"))}
		}
		leases = append(leases, &driver.Lease{Task: t, Owner: owner, Attempt: t.Attempts})
	}
	return leases, wait, lost, err
}

// reportLost counts and logs the lost leases that a script has returned. Each is a list of
// id, name, queue and new state ("missing" for a task without data, "restored" for a task
// that the audit has put back into its queue).
func (s *Store) reportLost(lost []any) {
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
			s.opts.Logger.Warn("task is a dead letter: its lease was lost too often or its data is not a task", "id", id, "task", name, "queue", queue)
		}
	}
	if restored > 0 {
		s.opts.Logger.Warn("tasks are back in their queues: keys of Redis that held them were deleted or evicted", "tasks", restored)
	}
	if len(missing) > 0 {
		s.opts.Logger.Error("tasks are lost: their data was deleted or evicted from Redis; set maxmemory-policy noeviction",
			"tasks", len(missing), "first", missing[0])
	}
}

// reportQueues logs the queues that lease.lua could not serve, and those that it can serve
// again. If no queue can be served, it returns the error of the first.
func (s *Store) reportQueues(queues []string, reply []any) error {
	if len(reply) != 4 {
		return nil // decodeLeases reports it
	}
	list, _ := reply[3].([]any)
	broken := map[string]error{}
	for _, each := range list {
		if v, ok := each.([]any); ok && len(v) == 2 {
			broken[fmt.Sprint(v[0])] = scriptError(fmt.Sprint(v[1]))
		}
	}
	var first error
	for _, q := range queues {
		if err := broken[q]; err != nil {
			s.problems.Report(troubleQueue, q, err, "queue", q)
			first = cmp.Or(first, fmt.Errorf("queue %s: %w", q, unavailable(err)))
		} else {
			s.problems.Resolve(troubleQueue, q, "queue can be served again", "queue", q)
		}
	}
	if len(broken) < len(queues) {
		return nil
	}
	return first
}

// malformed is the name of a dead letter that was made from a stream entry which is not a
// task.
const malformed = "malformed"

// sleep returns when a task may be due.
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

// fence returns the arguments by which scripts check a lease.
func fence(l *driver.Lease) []any { return []any{l.Task.ID, l.Owner, l.Attempt} }

// held checks the reply of a script that returns 1, or 0 for a lost lease.
func held(reply []any, err error) error {
	switch {
	case err != nil:
		return err
	case len(reply) != 1:
		return errReply
	case reply[0] != int64(1):
		return jobs.ErrLeaseLost
	}
	return nil
}

// Extend implements driver.Leaser. The leases last LeaseTTL from now.
func (s *Store) Extend(ctx context.Context, leases []*driver.Lease) ([]*driver.Lease, error) {
	lost, err := s.checkLeases(ctx, extendScript, leases)
	if err != nil {
		return nil, fmt.Errorf("extend leases: %w", err)
	}
	return lost, nil
}

// checkLeases runs a script that returns, for each lease, whether it is current. It returns
// the leases that are not.
func (s *Store) checkLeases(ctx context.Context, script *redis.Script, leases []*driver.Lease) (lost []*driver.Lease, err error) {
	if len(leases) == 0 {
		return nil, nil
	}
	var args []any
	for _, l := range leases {
		args = append(args, fence(l)...)
	}
	reply, err := s.run(ctx, script, args...)
	if err != nil {
		return nil, err
	}
	if len(reply) != len(leases) {
		return nil, errReply
	}
	for i, l := range leases {
		if reply[i] != int64(1) {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

// Release implements driver.Leaser. The task keeps its place: it comes before tasks that
// became due later.
func (s *Store) Release(ctx context.Context, l *driver.Lease) error {
	if err := held(s.call(ctx, releaseScript, fence(l)...)); err != nil {
		return fmt.Errorf("release task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Reclaim implements driver.Leaser. The tasks become due now and thus come after all tasks
// that were already due, because one of them may have crashed the worker. The number
// includes the tasks that become dead.
func (s *Store) Reclaim(ctx context.Context, owner string) (int, error) {
	reply, err := s.run(ctx, reclaimScript, owner)
	if err != nil {
		return 0, fmt.Errorf("reclaim tasks of %s: %w", owner, err)
	}
	s.reportLost(reply)
	return len(reply), nil
}
