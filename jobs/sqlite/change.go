package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Cancel implements jobs.Changer.
func (s *Store) Cancel(ctx context.Context, id string) (*jobs.Task, error) {
	t, err := s.change(ctx, id, func(ctx context.Context, tx *tx, r *row) error {
		if r.task.State.Final() {
			if r.task.State == jobs.StateCancelled {
				return nil
			}
			return driver.EndedError(&r.task)
		}
		return tx.cancel(ctx, r, driver.CancelReason)
	})
	if err != nil {
		return nil, fmt.Errorf("cancel task %s: %w", id, err)
	}
	return t, nil
}

// Purge implements jobs.Changer.
func (s *Store) Purge(ctx context.Context, ids []string, states []jobs.State) (n int, err error) {
	if err = driver.CheckPurge(ids, states); err == nil && len(ids) > 0 {
		err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) (err error) {
			n, err = tx.purge(ctx, ids, states)
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("purge tasks: %w", err)
	}
	return n, nil
}

func (t *tx) purge(ctx context.Context, ids []string, states []jobs.State) (n int, err error) {
	for _, id := range ids {
		found, err := t.rowsOf(ctx, getTask, id)
		if err != nil {
			return 0, err
		}
		if len(found) == 0 || !slices.Contains(states, found[0].task.State) {
			continue
		}
		r := found[0]
		if r.task.State == jobs.StateDead {
			r.member = member{} // the group has already counted it
		}
		if err := t.cancel(ctx, r, driver.PurgedReason); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// cancel ends a task as cancelled. The task is dead or has not ended.
func (t *tx) cancel(ctx context.Context, r *row, reason string) error {
	t.rows[r.seq], t.due = r.task.Version+1, true // the owner of a suspect may lease another one now
	err := t.exec(ctx, `UPDATE tasks SET version = version + 1, state = 'cancelled', due = NULL, finished = ?, error = ?, result = NULL WHERE seq = ?`,
		t.now.UnixMicro(), reason, r.seq)
	if err != nil {
		return err
	}
	return t.memberEnded(ctx, r.member, r.task.ID, jobs.StateCancelled, reason)
}

// Requeue implements jobs.Changer.
func (s *Store) Requeue(ctx context.Context, id string) (*jobs.Task, error) {
	t, err := s.change(ctx, id, func(ctx context.Context, tx *tx, r *row) error {
		if err := driver.CheckRequeue(&r.task); err != nil {
			return err
		}
		now := tx.now.UnixMicro()
		tx.rows[r.seq], tx.due = r.task.Version+1, true
		return tx.exec(ctx, `
			UPDATE tasks SET version = version + 1, state = 'queued', due = ?1, run_at = ?1, finished = NULL, lost = 0,
				expires = NULL, excused = 0, progress = 0, note = '', error = '', result = NULL, artifacts = '[]' WHERE seq = ?2`, now, r.seq)
	})
	if err != nil {
		return nil, fmt.Errorf("requeue task %s: %w", id, err)
	}
	return t, nil
}

// change runs do on the row of a task, in a transaction, and returns the changed task.
func (s *Store) change(ctx context.Context, id string, do func(context.Context, *tx, *row) error) (t *jobs.Task, err error) {
	err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
		found, err := tx.rowsOf(ctx, getTask, id)
		if err != nil {
			return err
		}
		if len(found) == 0 || s.gone(found[0].task.Finished, tx.now) {
			return jobs.ErrNotFound
		}
		if err := do(ctx, tx, found[0]); err != nil {
			return err
		}
		t, err = tx.get(ctx, id)
		return err
	})
	return t, err
}

// lostSQL returns the indexes of the leases that are not current.
const lostSQL = `
	SELECT l.key FROM json_each(?) AS l LEFT JOIN tasks AS t
		ON t.id = l.value ->> 0 AND t.attempts = l.value ->> 1 AND t.worker = l.value ->> 2 AND t.state = 'running'
	WHERE t.seq IS NULL ORDER BY l.key`

// Held implements driver.Leaser. It only reads, so it takes no write lock.
func (s *Store) Held(ctx context.Context, leases []*driver.Lease) ([]*driver.Lease, error) {
	lost, err := s.notHeld(ctx, leases)
	if err != nil {
		return nil, fmt.Errorf("check leases: %w", s.readError(ctx, err))
	}
	return lost, nil
}

func (s *Store) notHeld(ctx context.Context, leases []*driver.Lease) (lost []*driver.Lease, err error) {
	fences := make([][]any, len(leases))
	for i, l := range leases {
		fences[i] = fence(l)
	}
	list, err := json.Marshal(fences)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.query(ctx, lostSQL, string(list))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var i int
		if err := rows.Scan(&i); err != nil {
			return nil, err
		}
		lost = append(lost, leases[i])
	}
	return lost, rows.Err()
}
