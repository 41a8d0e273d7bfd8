package sqlite

import (
	"context"
	"time"
)

// sweepLimit bounds the rows that one transaction removes besides its own work.
const sweepLimit = 200

// expired matches, given the expiry, a task that nobody shall see any more. A
// member waits for the end of its group, which may need its result.
const expired = `finished < ? AND (group_seq IS NULL
	OR NOT EXISTS (SELECT 1 FROM groups WHERE seq = group_seq AND groups.finished IS NULL))`

const sweepSQL = `DELETE FROM tasks WHERE seq IN (
	SELECT seq FROM tasks INDEXED BY tasks_finished WHERE ` + expired + ` ORDER BY finished LIMIT ?)`

// expiry is before when a task must have ended to be expired.
func (t *tx) expiry() int64 { return t.now.Add(-t.opts.Keep).UnixMicro() }

// sweep removes expired rows now and then, beside other writes: where nothing is
// written nothing grows. Reading hides what is not swept yet.
func (t *tx) sweep(ctx context.Context) error {
	if t.now.Sub(t.swept) < min(t.opts.Keep/10, time.Minute) {
		return nil
	}
	tasks, err := t.change(ctx, sweepSQL, t.expiry(), sweepLimit)
	if err != nil {
		return err
	}
	groups, err := t.change(ctx, `DELETE FROM groups WHERE seq IN (
		SELECT seq FROM groups INDEXED BY groups_finished WHERE finished < ? ORDER BY finished LIMIT ?)`, t.expiry(), sweepLimit)
	if err != nil {
		return err
	}
	uniques, err := t.change(ctx, `DELETE FROM uniques WHERE (name, key) IN (
		SELECT name, key FROM uniques INDEXED BY uniques_until WHERE until <= ? ORDER BY until LIMIT ?)`, t.now.UnixMicro(), sweepLimit)
	if err == nil && max(tasks, groups, uniques) < sweepLimit {
		t.swept = t.now // else the next transaction goes on
	}
	return err
}

// gone reports whether what has ended then has expired.
func (s *Store) gone(finished *time.Time, now time.Time) bool {
	return finished != nil && now.Sub(*finished) > s.opts.Keep
}
