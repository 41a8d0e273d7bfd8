package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// AppendLog implements driver.Recorder.
func (s *Store) AppendLog(ctx context.Context, l *driver.Lease, lines string) error {
	lines = driver.LogLines(lines)
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		var seq int64
		var kept string
		found, err := tx.queryRow(ctx, `SELECT seq, coalesce((SELECT text FROM logs WHERE logs.seq = tasks.seq), '') FROM tasks`+held, fence(l), &seq, &kept)
		if err == nil && !found {
			return jobs.ErrLeaseLost
		}
		if err != nil {
			return err
		}
		return tx.exec(ctx, `INSERT OR REPLACE INTO logs (seq, text) VALUES (?, ?)`, seq, driver.CutLog(utf8text.Repair(kept+lines)))
	})
	if err != nil {
		return fmt.Errorf("store log of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Log implements jobs.Reader.
func (s *Store) Log(ctx context.Context, id string) (text string, err error) {
	r, err := s.get(ctx, id)
	if err == nil {
		err = s.read.queryRow(ctx, `SELECT text FROM logs WHERE seq = ?`, r.seq).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return "", nil
		}
		if err != nil {
			err = s.readError(ctx, err)
		}
	}
	if err != nil {
		return "", fmt.Errorf("get log of task %s: %w", id, err)
	}
	return utf8text.Repair(text), nil
}
