package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"gale/jobs"
)

// Progress implements jobs.Recorder. A percent outside 0 to 100 is taken for
// the nearer of them; a note is cut to 4 KiB.
func (s *Store) Progress(ctx context.Context, l *jobs.Lease, percent int, note string) error {
	percent, note = min(max(percent, 0), 100), cut(note, maxNote)
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		return tx.changeHeld(ctx, l, `progress = ?, note = ?`, percent, note)
	})
	if err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Finish implements jobs.Recorder. Every outcome but Success is added to the
// failures, of which the newest 100 are kept, each cut to 4 KiB; the task's
// Error is cut to 64 KiB. A Retrying outcome without a time is due at once.
//
// A state that is no outcome, a result that is not JSON and a next task that
// Enqueue would refuse are errors, and nothing is changed.
func (s *Store) Finish(ctx context.Context, l *jobs.Lease, o jobs.Outcome) error {
	err := checkOutcome(o)
	if err == nil {
		err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error { return tx.finish(ctx, l, o) })
	}
	if err != nil {
		return fmt.Errorf("finish task %s: %w", l.Task.ID, err)
	}
	return nil
}

func checkOutcome(o jobs.Outcome) error {
	if !o.State.Final() && o.State != jobs.Retrying {
		return fmt.Errorf("%q is not how an attempt ends", o.State)
	}
	if o.Result != nil && !json.Valid(o.Result) {
		return fmt.Errorf("the result is not JSON")
	}
	for _, n := range o.Next {
		if err := check(n); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) finish(ctx context.Context, l *jobs.Lease, o jobs.Outcome) error {
	set := `state = ?, due = ?, run_at = coalesce(?, run_at), finished = ?, progress = coalesce(?, progress),
		result = ?, error = ?, artifacts = ?, failures = ?`
	var due, finished, progress, result any // NULL
	switch now := t.now.UnixMicro(); o.State {
	case jobs.Success:
		finished, progress, o.Error = now, 100, ""
		if o.Result != nil {
			result = string(o.Result)
		}
	case jobs.Retrying:
		due, t.due = max(now, micro(o.RetryAt)), true
	default:
		finished = now
	}
	artifacts, err := jsonText(o.Artifacts)
	if err != nil {
		return err
	}
	failures, err := t.failures(ctx, l, o)
	if err != nil {
		return err
	}
	err = t.changeHeld(ctx, l, set, string(o.State), due, due, finished, progress,
		result, cut(o.Error, maxError), artifacts, failures)
	for _, n := range o.Next {
		if err == nil {
			_, err = t.insert(ctx, n)
		}
	}
	return err
}

// failures returns the task's, with this attempt's if it is one.
func (t *tx) failures(ctx context.Context, l *jobs.Lease, o jobs.Outcome) (string, error) {
	var text string
	found, err := t.queryRow(ctx, `SELECT failures FROM tasks`+held, fence(l), &text)
	switch {
	case err != nil:
		return "", err
	case !found:
		return "", jobs.ErrLeaseLost
	case o.State == jobs.Success:
		return text, nil
	}
	var all []jobs.Failure
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", fmt.Errorf("decode failures of task %s: %w", l.Task.ID, err)
	}
	return jsonText(addFailure(all, jobs.Failure{Time: t.now.UTC(), Attempt: l.Attempt, Error: o.Error}))
}
