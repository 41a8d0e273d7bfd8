package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// held matches the task of a lease (id, attempt, owner) if the lease is current. An expired
// lease stays current until another worker leases the task, so its work is not lost.
const held = ` WHERE id = ? AND attempts = ? AND worker = ? AND state = 'running'`

// fence returns the arguments of held.
func fence(l *driver.Lease) []any { return []any{l.Task.ID, l.Attempt, l.Owner} }

// Extend implements driver.Leaser. The leases last LeaseTTL from now.
func (s *Store) Extend(ctx context.Context, leases []*driver.Lease) (lost []*driver.Lease, err error) {
	if len(leases) == 0 {
		return nil, nil
	}
	err = s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		until := tx.now.Add(s.opts.LeaseTTL).UnixMicro()
		for _, l := range leases {
			n, err := tx.change(ctx, `UPDATE tasks SET due = ?`+held, append([]any{until}, fence(l)...)...)
			if err != nil {
				return err
			}
			if n == 0 {
				lost = append(lost, l)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("extend leases: %w", err)
	}
	return lost, nil
}

// Release implements driver.Leaser. The task is due at once. Its due time is its RunAt again,
// so it comes before tasks that became due later.
func (s *Store) Release(ctx context.Context, l *driver.Lease) error {
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error { return tx.release(ctx, l) })
	if err != nil {
		return fmt.Errorf("release task %s: %w", l.Task.ID, err)
	}
	return nil
}

const runningOf = `SELECT ` + columns + ` FROM tasks INDEXED BY tasks_running WHERE worker = ? AND state = 'running' ORDER BY seq`

// Reclaim implements driver.Leaser. The tasks become due now and thus come after all tasks
// that were already due, because one of them may have crashed the worker. The number
// includes the tasks that become dead.
func (s *Store) Reclaim(ctx context.Context, owner string) (n int, err error) {
	err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
		rows, err := tx.rowsOf(ctx, runningOf, owner)
		n = len(rows)
		// Count the suspect first, so that the other leases are not counted as lost.
		slices.SortStableFunc(rows, func(a, b *row) int { return b.lost - a.lost })
		for _, r := range rows {
			dead, lostErr := tx.countLost(ctx, r)
			if lostErr == nil && !dead {
				lostErr = tx.requeue(ctx, r, tx.now.UnixMicro())
			}
			if lostErr != nil {
				return lostErr
			}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reclaim tasks of %s: %w", owner, err)
	}
	return n, nil
}

// requeue ends a lease without an outcome. The next lease gets a new attempt number, so a
// late call of the worker that had this lease does not match it.
func (t *tx) requeue(ctx context.Context, r *row, due int64) error {
	t.rows[r.seq], t.due = r.task.Version+1, true
	return t.exec(ctx, `UPDATE tasks SET version = version + 1, state = 'queued', result = NULL, due = ?, lost = ? WHERE seq = ?`,
		due, r.lost, r.seq)
}

// changeHeld sets columns of the task of a lease, or returns jobs.ErrLeaseLost.
func (t *tx) changeHeld(ctx context.Context, l *driver.Lease, set string, args ...any) error {
	var seq, version int64
	found, err := t.queryRow(ctx, `UPDATE tasks SET version = version + 1, `+set+held+` RETURNING seq, version`,
		append(args, fence(l)...), &seq, &version)
	if err == nil && !found {
		return jobs.ErrLeaseLost
	}
	t.rows[seq] = version
	return err
}
