package workerapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// maxNext is the largest number of tasks in Next.
const maxNext = 100

// FinishEntry ends an attempt.
type FinishEntry struct {
	Lease string `json:"lease"`
	// State is "success"; "failed", which is final; "retry" for another attempt if
	// max_retries allows one, else failed; or "lost" if the process of the task died.
	State  string          `json:"state"`
	Result json.RawMessage `json:"result"` // any JSON value, for success
	Error  string          `json:"error"`  // for failed and retry
	// Delay is the time to the next attempt in seconds, for retry; nil: the usual backoff.
	Delay     *float64 `json:"delay"`
	Artifacts []string `json:"artifacts"` // names of files that were uploaded
	// Next are tasks that are accepted in the same step, in the form of POST /tasks.
	Next []json.RawMessage `json:"next"`
}

// ReleaseEntry gives back a task without an outcome.
type ReleaseEntry struct {
	Lease string  `json:"lease"`
	Delay float64 `json:"delay"` // seconds until the task is due again
}

// parallel is the number of entries of a list that are processed at the same time.
const parallel = 64

// each runs do for each index below n and returns when all are done.
func each(n int, do func(i int)) {
	var all sync.WaitGroup
	free := make(chan struct{}, parallel)
	for i := range n {
		free <- struct{}{}
		all.Go(func() {
			do(i)
			<-free
		})
	}
	all.Wait()
}

// CheckEntries returns an Error if a list has too many entries.
func CheckEntries(n int) error {
	if n > MaxEntries {
		return Error{codeTooLarge, fmt.Sprintf("%d entries; at most %d are allowed", n, MaxEntries)}
	}
	return nil
}

// Finish ends attempts, each in a step of its own. The result of a repeated entry has the
// state of the first.
func (s *Service) Finish(ctx context.Context, entries []FinishEntry) []Result {
	results := make([]Result, len(entries))
	each(len(entries), func(i int) {
		state, err := s.finish(ctx, entries[i])
		results[i] = s.resultOf(entries[i].Lease, state, err)
	})
	return results
}

func (s *Service) finish(ctx context.Context, e FinishEntry) (jobs.State, error) {
	id, err := parseLease(e.Lease)
	if err != nil {
		return "", invalid("%v", err)
	}
	if err := e.check(); err != nil {
		return "", err
	}
	next, err := s.next(ctx, e.Next)
	if err != nil {
		return "", err
	}
	if err := s.checkArtifacts(ctx, id.task, e.Artifacts); err != nil {
		return "", err
	}
	l := id.lease()
	s.flushReport(ctx, l)
	ending := driver.Ending{Kind: driver.EndLost}
	reason := ""
	if state, ok := finishStates[e.State]; ok {
		ending.Kind = driver.EndFinished
		ending.Outcome = func(t *jobs.Task) (driver.Outcome, error) {
			o, err := s.outcome(t, state, e.Result, e.Error, e.Delay)
			o.Artifacts, o.Next, reason = e.Artifacts, append(o.Next, next...), o.Error
			s.follow(ctx, t, l, &o)
			return o, err
		}
	}
	ended, err := s.store.End(ctx, l, ending)
	if err == nil && !ended.Again {
		s.ended(ctx, ended, l, ending.Kind, reason)
	}
	return ended.State, err
}

// finishStates are the states of a FinishEntry that have an outcome.
var finishStates = map[string]jobs.State{"success": jobs.StateSuccess, "failed": jobs.StateFailed, "retry": jobs.StateRetrying}

func (e FinishEntry) check() error {
	switch e.State {
	case "success", "failed", "retry":
	case "lost":
		if len(e.Next) > 0 || len(e.Artifacts) > 0 {
			return invalid("state: a lost attempt has no next tasks and no artifacts")
		}
	default:
		return invalid("state: %q is not success, failed, retry or lost", utf8text.Cut(e.State, 100))
	}
	switch {
	case len(e.Result) > MaxResult:
		return tooLarge("result", len(e.Result), MaxResult)
	case e.Delay != nil && (*e.Delay < 0 || *e.Delay > maxSeconds):
		return invalid("delay: %v is not between 0 and %.0f seconds", *e.Delay, maxSeconds)
	case len(e.Next) > maxNext:
		return invalid("next: %d tasks; at most %d are allowed", len(e.Next), maxNext)
	}
	if err := utf8text.CheckJSON(e.Result); err != nil {
		return invalid("result: %v", err)
	}
	return nil
}

// next decodes and completes the tasks of an entry.
func (s *Service) next(ctx context.Context, all []json.RawMessage) (next []jobs.NewTask, err error) {
	for i, raw := range all {
		if s.opt.DecodeTask == nil {
			return nil, invalid("next: not supported by this server")
		}
		n, err := s.opt.DecodeTask(raw)
		if err == nil {
			err = s.client.Complete(ctx, &n)
		}
		if errors.Is(err, jobs.ErrUnavailable) {
			return nil, err
		}
		if err != nil {
			return nil, invalid("next[%d]: %v", i, err)
		}
		next = append(next, n)
	}
	return next, nil
}

// outcome returns the outcome of an attempt with the tasks that follow it in its workflow.
// A retry beyond MaxRetries becomes failed.
func (s *Service) outcome(t *jobs.Task, state jobs.State, result json.RawMessage, reason string, delay *float64) (driver.Outcome, error) {
	o := driver.Outcome{State: state}
	failures := len(t.Failures)
	if state == jobs.StateRetrying && failures >= t.MaxRetries {
		o.State = jobs.StateFailed
	}
	switch o.State {
	case jobs.StateSuccess:
		if o.Result = result; string(result) == "null" {
			o.Result = nil
		}
	default:
		o.Error = utf8text.Repair(reason)
	}
	if o.State == jobs.StateRetrying {
		o.RetryAt = time.Now().Add(driver.RetryDelay(failures))
		if delay != nil {
			o.RetryAt = time.Now().Add(seconds(*delay))
		}
		return o, nil
	}
	follow, err := s.client.Tasks.Next(t)
	if err != nil {
		return o, fmt.Errorf("find the tasks that follow task %s: %w", t.ID, err)
	}
	o.Next, o.NextGroups = follow(o.State, o.Result, o.Error)
	return o, nil
}

// ended logs and counts the end of an attempt. reason is the error of its outcome.
func (s *Service) ended(ctx context.Context, e driver.Ended, l *driver.Lease, kind driver.EndKind, reason string) {
	t, took := e.Task, time.Duration(0)
	if t.Started != nil {
		took = max(0, time.Since(*t.Started))
	}
	s.log.InfoContext(s.traced(ctx, t, l), "task ended", "task", t.Name, "id", t.ID, "attempt", l.Attempt, "worker", l.Owner, "state", e.State, "took", took.Round(time.Millisecond), "error", reason)
	if kind != driver.EndFinished {
		s.span(t, l, tasktrace.OutcomeLost, "the process of the task has died")
		return // the store has counted the lost lease
	}
	s.span(t, l, string(e.State), reason)
	s.opt.Meter.Count(driver.EventOf(e.State), t.Name, t.Queue)
	s.opt.Stopwatch.Took(driver.EventOf(e.State), t.Name, took)
	if s.opt.Artifacts != nil && e.State.Final() {
		s.opt.Artifacts.Clean(t.ID)
	}
}

// Release gives tasks back, each in a step of its own. They are due again after Delay, and
// neither a failure nor a lost attempt is counted.
func (s *Service) Release(ctx context.Context, entries []ReleaseEntry) []Result {
	results := make([]Result, len(entries))
	each(len(entries), func(i int) {
		state, err := s.release(ctx, entries[i])
		results[i] = s.resultOf(entries[i].Lease, state, err)
	})
	return results
}

func (s *Service) release(ctx context.Context, e ReleaseEntry) (jobs.State, error) {
	id, err := parseLease(e.Lease)
	if err != nil {
		return "", invalid("%v", err)
	}
	if e.Delay < 0 || e.Delay > maxSeconds {
		return "", invalid("delay: %v is not between 0 and %.0f seconds", e.Delay, maxSeconds)
	}
	ending := driver.Ending{Kind: driver.EndReleased}
	if e.Delay > 0 {
		ending.At = time.Now().Add(seconds(e.Delay))
	}
	l := id.lease()
	ended, err := s.store.End(ctx, l, ending)
	if err == nil && !ended.Again {
		s.span(ended.Task, l, tasktrace.OutcomeReleased, "")
		s.log.InfoContext(s.traced(ctx, ended.Task, l), "task released for another worker", "id", id.task, "attempt", id.attempt, "worker", id.session, "delay", e.Delay)
	}
	return ended.State, err
}
