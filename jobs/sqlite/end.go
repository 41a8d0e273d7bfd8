package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// End implements driver.Remote.
func (s *Store) End(ctx context.Context, l *driver.Lease, e driver.Ending) (ended driver.Ended, err error) {
	if err = e.Check(); err == nil {
		err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) (err error) {
			ended, err = tx.end(ctx, l, e)
			return err
		})
	}
	if err != nil {
		return driver.Ended{}, fmt.Errorf("end attempt at task %s: %w", l.Task.ID, err)
	}
	return ended, nil
}

func (t *tx) end(ctx context.Context, l *driver.Lease, e driver.Ending) (driver.Ended, error) {
	found, err := t.rowsOf(ctx, getTask, l.Task.ID)
	if err != nil {
		return driver.Ended{}, err
	}
	if len(found) == 0 {
		return driver.Ended{}, jobs.ErrLeaseLost
	}
	r := found[0]
	if state, again := driver.EndedState(r.task.Ended, l); again {
		return driver.Ended{Task: &r.task, State: state, Again: true}, nil
	}
	if !l.Holds(&r.task) {
		return driver.Ended{}, jobs.ErrLeaseLost
	}
	if e.Kind == driver.EndFinished {
		return t.endFinished(ctx, r, l, e)
	}
	state, err := t.endUnfinished(ctx, r, l, e)
	if err != nil {
		return driver.Ended{}, err
	}
	ended, err := jsonText(driver.AddEnded(r.task.Ended, l, state))
	if err != nil {
		return driver.Ended{}, err
	}
	return driver.Ended{Task: &r.task, State: state}, t.exec(ctx, `UPDATE tasks SET ended = ? WHERE seq = ?`, ended, r.seq)
}

func (t *tx) endFinished(ctx context.Context, r *row, l *driver.Lease, e driver.Ending) (driver.Ended, error) {
	o, err := e.Outcome(&r.task)
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		return driver.Ended{}, err
	}
	ended, err := jsonText(driver.AddEnded(r.task.Ended, l, o.State))
	if err != nil {
		return driver.Ended{}, err
	}
	held, err := r.heldRow()
	if err != nil {
		return driver.Ended{}, err
	}
	return driver.Ended{Task: &r.task, State: o.State}, t.finish(ctx, held, l, o, ended)
}

func (t *tx) endUnfinished(ctx context.Context, r *row, l *driver.Lease, e driver.Ending) (jobs.State, error) {
	if e.Kind == driver.EndLost {
		t.opts.Meter.Count(meter.EventRedelivered, r.task.Name, r.task.Queue)
		dead, err := t.addLost(ctx, r)
		if err != nil || dead {
			return jobs.StateDead, err
		}
		return jobs.StateQueued, t.requeue(ctx, r, t.now.UnixMicro())
	}
	if due := micro(e.At); !e.At.IsZero() && due > t.now.UnixMicro() {
		t.due = true
		return jobs.StateScheduled, t.changeHeld(ctx, l, `state = 'queued', result = NULL, due = ?, run_at = ?`, due, due)
	}
	return jobs.StateQueued, t.release(ctx, l)
}

// release ends a lease. The due time of the task is its RunAt again, so it comes before
// tasks that became due later.
func (t *tx) release(ctx context.Context, l *driver.Lease) error {
	t.due = true
	return t.changeHeld(ctx, l, `state = 'queued', result = NULL, due = run_at`)
}

const leasesOf = `SELECT id, attempts FROM tasks INDEXED BY tasks_running WHERE worker = ? AND state = 'running'`

// ReleaseOthers implements driver.Remote. It takes the write lock only if there is a lease
// to release.
func (s *Store) ReleaseOthers(ctx context.Context, owner string, keep []*driver.Lease) (n int, err error) {
	others, err := s.others(ctx, owner, keep)
	if err != nil {
		return 0, fmt.Errorf("find leases of %s: %w", owner, s.readError(ctx, err))
	}
	for _, l := range others {
		err := s.Release(ctx, l)
		if err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
			return n, err
		}
		if err == nil {
			n++
		}
	}
	return n, nil
}

// others returns the leases of an owner that are not in keep.
func (s *Store) others(ctx context.Context, owner string, keep []*driver.Lease) (all []*driver.Lease, err error) {
	rows, err := s.read.query(ctx, leasesOf, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	type attempt struct {
		task   string
		number int
	}
	kept := make(map[attempt]bool, len(keep))
	for _, l := range keep {
		kept[attempt{l.Task.ID, l.Attempt}] = true
	}
	for rows.Next() {
		var a attempt
		if err := rows.Scan(&a.task, &a.number); err != nil {
			return nil, err
		}
		if !kept[a] {
			all = append(all, &driver.Lease{Task: &jobs.Task{ID: a.task}, Owner: owner, Attempt: a.number})
		}
	}
	return all, rows.Err()
}

// Report implements driver.Remote.
func (s *Store) Report(ctx context.Context, l *driver.Lease, r driver.Report) error {
	var meta any // NULL: the column stays as it is
	if r.Meta != nil {
		meta = string(r.Meta)
	}
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		return tx.changeHeld(ctx, l, `progress = coalesce(?, progress), note = coalesce(?, note), result = coalesce(?, result)`, r.Percent, r.Note, meta)
	})
	if err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}
