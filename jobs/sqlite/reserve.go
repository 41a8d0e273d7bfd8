package sqlite

import (
	"context"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Statements that insert a reservation. It exists until the task (afterTask) or the group
// (afterGroup) with the third argument as its id is deleted.
const (
	afterTask  = `INSERT INTO reserved (id, workflow, after_task) VALUES (?, ?, (SELECT seq FROM tasks WHERE id = ?))`
	afterGroup = `INSERT INTO reserved (id, workflow, after_group) VALUES (?, ?, (SELECT seq FROM groups WHERE id = ?))`
)

// reserve reserves ids for a workflow. after is afterTask or afterGroup, and before is the
// id of that task or group. The error is a driver.TakenError if one of the ids is in use.
func (t *tx) reserve(ctx context.Context, ids []string, workflow, after, before string) error {
	for _, id := range ids {
		if _, err := t.removeExpired(ctx, id); err != nil {
			return err
		}
		if err := t.taken(ctx, id); err != nil {
			return err
		}
		if err := t.exec(ctx, after, id, workflow, before); err != nil {
			return err
		}
	}
	return nil
}

// unreserve deletes the reservations of the workflow for these ids.
func (t *tx) unreserve(ctx context.Context, ids []string, workflow string) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := jsonText(ids)
	if err != nil {
		return err
	}
	return t.exec(ctx, `DELETE FROM reserved WHERE id IN (SELECT value FROM json_each(?)) AND workflow = ?`, list, workflow)
}

// next enqueues a task that follows others. If it belongs to a workflow, the reservations
// of its followers now depend on this task. A task whose id is in use is skipped.
func (t *tx) next(ctx context.Context, n jobs.NewTask, workflow string) error {
	return t.nextTask(ctx, n, member{}, workflow)
}

// nextTask is next for a task that may be a member of a group.
func (t *tx) nextTask(ctx context.Context, n jobs.NewTask, m member, workflow string) error {
	created, err := t.insert(ctx, n, m, workflow)
	if err != nil || !created || workflow == "" || len(n.Followers) == 0 {
		return err
	}
	list, err := jsonText(n.Followers)
	if err != nil {
		return err
	}
	return t.exec(ctx, `
		UPDATE reserved SET after_group = NULL, after_task = (SELECT seq FROM tasks WHERE id = ?)
		WHERE id IN (SELECT value FROM json_each(?)) AND workflow = ?`, n.ID, list, workflow)
}

// removeExpired deletes the group, task or reservation with the id if its retention time is
// over and sweep has not deleted it yet. It reports whether it has deleted anything.
func (t *tx) removeExpired(ctx context.Context, id string) (freed bool, err error) {
	for _, query := range []string{
		`DELETE FROM groups WHERE id = ? AND finished < ?`,
		`DELETE FROM tasks WHERE id = ? AND ` + expired,
		`DELETE FROM reserved WHERE id = ? AND after_task IN (SELECT seq FROM tasks WHERE seq = after_task AND ` + expired + `)`,
	} {
		n, err := t.change(ctx, query, id, t.expiry())
		if err != nil {
			return false, err
		}
		freed = freed || n > 0
	}
	return freed, nil
}

// workflowSQL is the id of the workflow of a task, ” for none.
const workflowSQL = `CASE WHEN workflow <> '' THEN workflow ELSE coalesce((SELECT id FROM groups WHERE seq = group_seq), '') END`

const takenSQL = `
	SELECT ` + workflowSQL + ` FROM tasks WHERE id = ?1
	UNION ALL SELECT CASE WHEN workflow <> '' THEN workflow ELSE id END FROM groups WHERE id = ?1
	UNION ALL SELECT workflow FROM reserved WHERE id = ?1 LIMIT 1`

// taken returns a driver.TakenError if the id is in use or reserved.
func (t *tx) taken(ctx context.Context, id string) error {
	by := driver.TakenError{ID: id}
	found, err := t.queryRow(ctx, takenSQL, []any{id}, &by.Workflow)
	if err == nil && found {
		err = by
	}
	return err
}
