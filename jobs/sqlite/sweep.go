package sqlite

import (
	"context"
	"time"
)

// sweepLimit is the largest number of rows that sweep deletes from a table in one
// transaction.
const sweepLimit = 200

// expired matches a task whose retention time is over. Its argument is the result of expiry.
// A member is kept until its group has ended, because the group may need its result.
const expired = `finished < ? AND (group_seq IS NULL
	OR NOT EXISTS (SELECT 1 FROM groups WHERE seq = group_seq AND groups.finished IS NULL))`

const sweepSQL = `DELETE FROM tasks WHERE seq IN (
	SELECT seq FROM tasks INDEXED BY tasks_finished WHERE ` + expired + ` ORDER BY finished LIMIT ?)`

// expiry returns the time before which a task must have ended to be past its retention
// time.
func (t *tx) expiry() int64 { return t.now.Add(-t.opts.Keep).UnixMicro() }

// sweep deletes rows past their retention time. It runs at intervals of up to a minute, in
// the transaction of another write; without writes the file does not grow, so no sweep is
// needed. Reads hide rows that are past their retention time but not deleted yet.
func (t *tx) sweep(ctx context.Context) error {
	if t.now.Sub(t.swept) < min(t.opts.Keep/10, time.Minute) || t.up < t.noSweep {
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
	if err != nil {
		return err
	}
	records, err := t.change(ctx, `DELETE FROM records WHERE (kind, key) IN (
		SELECT kind, key FROM records INDEXED BY records_until WHERE until <= ? ORDER BY until LIMIT ?)`, t.now.UnixMicro(), sweepLimit)
	if err == nil && max(tasks, groups, uniques, records) < sweepLimit {
		t.swept = t.now // otherwise the next transaction continues the sweep
	}
	return err
}

// gone reports whether the retention time of a task or group that ended at finished is
// over.
func (s *Store) gone(finished *time.Time, now time.Time) bool {
	return finished != nil && now.Sub(*finished) > s.opts.Keep
}
