package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gale/jobs"
)

// Enqueue implements jobs.Enqueuer. An invalid id, no name, or arguments that
// are not JSON are refused. If ctx ends before the task could be written, the
// error wraps both jobs.ErrUnavailable and the context's cause; after any error
// the task was not accepted.
func (s *Store) Enqueue(ctx context.Context, n jobs.NewTask) (t *jobs.Task, created bool, err error) {
	if err = n.Check(); err == nil {
		err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) (err error) {
			t, created, err = tx.enqueue(ctx, n)
			return err
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("enqueue task: %w", err)
	}
	return t, created, nil
}

// enqueue accepts a task unless its id, or its key, is taken, and returns what
// is there then.
func (t *tx) enqueue(ctx context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	if n.Unique == "" {
		created, err := t.insert(ctx, n, member{})
		if err != nil {
			return nil, false, err
		}
		task, err := t.get(ctx, n.ID)
		return task, created, err
	}
	var first string
	found, err := t.queryRow(ctx, `SELECT task FROM uniques JOIN tasks ON tasks.id = uniques.task
		WHERE uniques.name = ? AND key = ? AND until > ?`, []any{n.Name, n.Unique, t.now.UnixMicro()}, &first)
	if err != nil {
		return nil, false, err
	}
	if found {
		task, err := t.get(ctx, first)
		return task, false, err
	}
	created, err := t.insert(ctx, n, member{})
	if err == nil && created {
		err = t.exec(ctx, `INSERT OR REPLACE INTO uniques (name, key, until, task) VALUES (?, ?, ?, ?)`,
			n.Name, n.Unique, micro(t.now.Add(n.UniqueFor)), n.ID)
	}
	if err != nil {
		return nil, false, err
	}
	task, err := t.get(ctx, n.ID)
	return task, created, err
}

// member is a task's place in a group.
type member struct {
	group sql.Null[int64] // its row
	place int
}

// insert accepts a checked task unless its id is taken.
func (t *tx) insert(ctx context.Context, n jobs.NewTask, m member) (created bool, err error) {
	now := t.now.UnixMicro()
	runAt := now
	if !n.RunAt.IsZero() {
		runAt = micro(n.RunAt)
	}
	queue, args := n.Queue, string(n.Args)
	if queue == "" {
		queue = jobs.DefaultQueue
	}
	if n.Args == nil {
		args = "[]"
	}
	var expires any // NULL
	if !n.Expires.IsZero() {
		expires = micro(n.Expires)
	}
	for range 2 {
		changed, err := t.change(ctx, `
			INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries,
				attempts, lost, worker, progress, note, error, artifacts, failures, args, signature, group_seq, member, expires)
			VALUES (1, ?1, ?2, ?3, 'queued', ?4, ?4, ?5, ?6, ?7, 0, 0, '', 0, '', '', '[]', '[]', ?8, ?9, ?10, ?11, ?12)
			ON CONFLICT (id) DO NOTHING`,
			n.ID, queue, n.Name, runAt, now, int64(n.Timeout), n.MaxRetries, args, n.Signature, m.group, m.place, expires)
		if err != nil || changed > 0 {
			t.due = t.due || changed > 0
			return changed > 0, err
		}
		// What has expired and was not swept yet does not hold its id.
		if freed, err := t.change(ctx, `DELETE FROM tasks WHERE id = ? AND `+expired, n.ID, t.expiry()); err != nil || freed == 0 {
			return false, err
		}
	}
	return false, nil
}

const getTask = `SELECT ` + columns + ` FROM tasks WHERE id = ?`

func (t *tx) get(ctx context.Context, id string) (*jobs.Task, error) {
	s, err := t.stmt(ctx, getTask)
	if err != nil {
		return nil, err
	}
	r, err := readTask(s.QueryRowContext(ctx, id), t.now)
	if err != nil {
		return nil, err
	}
	return &r.task, nil
}

// readTask returns jobs.ErrNotFound if there is no row.
func readTask(found *sql.Row, now time.Time) (*row, error) {
	var r row
	err := r.scan(found, now)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, jobs.ErrNotFound
	}
	return &r, err
}
