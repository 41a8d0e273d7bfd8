package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Enqueue implements jobs.Store. If ctx ends before the write has started, the error wraps
// both jobs.ErrUnavailable and the cause of ctx. After any error the task was not
// accepted.
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

// enqueue accepts a task. If a task with the same id or unique key exists, it returns that
// task and false.
func (t *tx) enqueue(ctx context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	if n.Unique == "" {
		return t.enqueueNew(ctx, n)
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
	task, created, err := t.enqueueNew(ctx, n)
	if err == nil && created {
		err = t.exec(ctx, `INSERT OR REPLACE INTO uniques (name, key, until, task) VALUES (?, ?, ?, ?)`,
			n.Name, n.Unique, micro(t.now.Add(n.UniqueFor)), n.ID)
	}
	return task, created, err
}

// enqueueNew accepts a task that belongs to no workflow yet, and reserves the ids of its
// followers.
func (t *tx) enqueueNew(ctx context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	workflow := ""
	if len(n.Followers) > 0 {
		workflow = n.ID
	}
	created, err := t.insert(ctx, n, member{}, workflow)
	if err != nil {
		return nil, false, err
	}
	if created {
		if err := t.reserve(ctx, n.Followers, workflow, afterTask, n.ID); err != nil {
			return nil, false, err
		}
	}
	task, err := t.get(ctx, n.ID)
	switch {
	case errors.Is(err, jobs.ErrNotFound): // the id is that of a group or is reserved
		return nil, false, t.taken(ctx, n.ID)
	case err == nil && !created:
		err = driver.CheckSameTask(n, task)
	}
	return task, created, err
}

// member is the position of a task in a group.
type member struct {
	group sql.Null[int64] // seq of the group
	place int
}

// insert inserts a task unless its id is in use. workflow is the id of the workflow to
// which the task belongs, or empty; ids that this workflow has reserved may be used.
func (t *tx) insert(ctx context.Context, n jobs.NewTask, m member, workflow string) (created bool, err error) {
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
	var followers any
	if len(n.Followers) > 0 && (workflow != "" || m.group.Valid) {
		if followers, err = jsonText(n.Followers); err != nil {
			return false, err
		}
	}
	for range 2 { // again if the id was in use by an expired task
		changed, err := t.change(ctx, `
			INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries,
				attempts, lost, worker, progress, note, error, artifacts, failures, args, signature, group_seq, member, expires,
				workflow, followers, digest, kwargs, headers)
			SELECT 1, ?1, ?2, ?3, 'queued', ?4, ?4, ?5, ?6, ?7, 0, 0, '', 0, '', '', '[]', '[]', ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17
			WHERE NOT EXISTS (SELECT 1 FROM reserved WHERE id = ?1 AND workflow <> ?13) AND NOT EXISTS (SELECT 1 FROM groups WHERE id = ?1)
			ON CONFLICT (id) DO NOTHING`,
			n.ID, queue, n.Name, runAt, now, int64(n.Timeout), n.MaxRetries, args, n.Signature, m.group, m.place, expires,
			workflow, followers, n.Digest, text(n.Kwargs), text(n.Headers))
		if err != nil || changed > 0 {
			t.due = t.due || changed > 0
			return changed > 0, err
		}
		if freed, err := t.removeExpired(ctx, n.ID); err != nil || !freed {
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
