package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Progress implements driver.Recorder. percent is limited to 0 to 100, and note to 4 KiB.
func (s *Store) Progress(ctx context.Context, l *driver.Lease, percent int, note string) error {
	percent, note = min(max(percent, 0), 100), driver.Note(note)
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		return tx.changeHeld(ctx, l, `progress = ?, note = ?`, percent, note)
	})
	if err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Finish implements driver.Recorder. Every outcome other than success is added to the
// failures, each cut to 4 KiB; the newest 100 are kept. Task.Error is cut to 64 KiB. A
// retrying task without RetryAt is due at once. If Outcome.Check returns an error, nothing
// is changed.
func (s *Store) Finish(ctx context.Context, l *driver.Lease, o driver.Outcome) error {
	err := o.Check()
	if err == nil {
		err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
			r, err := tx.held(ctx, l)
			if err != nil {
				return err
			}
			return tx.finish(ctx, r, l, o, nil)
		})
	}
	if err != nil {
		return fmt.Errorf("finish task %s: %w", l.Task.ID, err)
	}
	return nil
}

// finish ends an attempt at the task r. ended is the new value of that column; nil leaves it
// as it is.
func (t *tx) finish(ctx context.Context, r heldRow, l *driver.Lease, o driver.Outcome, ended any) error {
	o = o.Bounded()
	set := `state = ?, due = ?, run_at = coalesce(?, run_at), finished = ?, progress = coalesce(?, progress),
		result = ?, error = ?, artifacts = ?, failures = ?, ended = coalesce(?, ended)`
	var due, finished, progress, result any // NULL
	switch now := t.now.UnixMicro(); o.State {
	case jobs.StateSuccess:
		finished, progress = now, 100
		if o.Result != nil {
			result = string(o.Result)
		}
	case jobs.StateRetrying:
		due, t.due = max(now, micro(o.RetryAt)), true
	default:
		finished = now
	}
	artifacts, err := jsonText(o.Artifacts)
	if err != nil {
		return err
	}
	failures := r.failures
	if o.State != jobs.StateSuccess {
		if failures, err = addFailure(failures, jobs.Failure{Time: t.now.UTC(), Attempt: l.Attempt, Error: o.Error}); err != nil {
			return err
		}
	}
	t.due = t.due || r.lost >= driver.SuspectAfter // the owner of a suspect may lease another one now
	err = t.changeHeld(ctx, l, set, string(o.State), due, due, finished, progress,
		result, o.Error, artifacts, failures, ended)
	for _, n := range o.Next {
		if err == nil {
			err = t.next(ctx, n, r.workflow)
		}
	}
	for _, g := range o.NextGroups {
		if err == nil {
			err = t.nextGroup(ctx, g, r.workflow)
		}
	}
	if err == nil && o.State == jobs.StateSuccess && r.followed {
		// The followers that this call has not enqueued will never be enqueued, so their
		// ids become free.
		err = t.exec(ctx, `DELETE FROM reserved WHERE after_task = ?`, r.seq)
	}
	if err == nil && o.State.Final() {
		err = t.memberEnded(ctx, r.member, l.Task.ID, o.State, o.Error)
	}
	return err
}

// heldRow holds the columns that finish needs before it changes the task.
type heldRow struct {
	seq      int64
	failures string // JSON
	lost     int
	member   member
	workflow string // id of the workflow of the task, or empty
	followed bool   // whether the task has followers
}

const heldSQL = `SELECT seq, failures, lost, group_seq, member, followers IS NOT NULL,
	` + workflowSQL + ` FROM tasks` + held

// held returns the task of a lease, or jobs.ErrLeaseLost if the lease is not current.
func (t *tx) held(ctx context.Context, l *driver.Lease) (r heldRow, err error) {
	found, err := t.queryRow(ctx, heldSQL, fence(l), &r.seq, &r.failures, &r.lost, &r.member.group, &r.member.place, &r.followed, &r.workflow)
	if err == nil && !found {
		err = jobs.ErrLeaseLost
	}
	return r, err
}

// heldRow returns the columns of a row that finish needs.
func (r *row) heldRow() (heldRow, error) {
	failures, err := jsonText(r.task.Failures)
	return heldRow{
		seq: r.seq, failures: failures, lost: r.lost, member: r.member,
		workflow: r.task.WorkflowID(), followed: len(r.task.Followers) > 0,
	}, err
}

// addFailure does the same as driver.AddFailure, with the failures as JSON.
func addFailure(text string, f jobs.Failure) (string, error) {
	var all []jobs.Failure
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", fmt.Errorf("decode failures: %w", err)
	}
	return jsonText(driver.AddFailure(all, f))
}
