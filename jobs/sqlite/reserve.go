package sqlite

import (
	"context"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// What a reservation comes after: statements that point one at the task, or the
// group, of that id.
const (
	afterTask  = `INSERT INTO reserved (id, workflow, after_task) VALUES (?, ?, (SELECT seq FROM tasks WHERE id = ?))`
	afterGroup = `INSERT INTO reserved (id, workflow, after_group) VALUES (?, ?, (SELECT seq FROM groups WHERE id = ?))`
)

// reserve reserves ids for a workflow; the error is a driver.TakenError if one of
// them is anybody's.
func (t *tx) reserve(ctx context.Context, ids []string, workflow, after, carrier string) error {
	for _, id := range ids {
		if _, err := t.free(ctx, id); err != nil {
			return err
		}
		if err := t.taken(ctx, id); err != nil {
			return err
		}
		if err := t.exec(ctx, after, id, workflow, carrier); err != nil {
			return err
		}
	}
	return nil
}

// unreserve gives up those of the ids that the workflow has reserved.
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

// next accepts a task that follows others of a workflow, if it is part of one; what
// is reserved for those behind it goes with it from now on. A task whose id is
// somebody else's is left out.
func (t *tx) next(ctx context.Context, n jobs.NewTask, workflow string) error {
	created, err := t.insert(ctx, n, member{}, workflow)
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

// free removes what had an id, has expired and was not swept yet.
func (t *tx) free(ctx context.Context, id string) (freed bool, err error) {
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

const takenSQL = `
	SELECT coalesce((SELECT id FROM groups WHERE seq = group_seq), workflow) FROM tasks WHERE id = ?1
	UNION ALL SELECT id FROM groups WHERE id = ?1
	UNION ALL SELECT workflow FROM reserved WHERE id = ?1 LIMIT 1`

// taken returns a driver.TakenError if somebody has the id or has reserved it.
func (t *tx) taken(ctx context.Context, id string) error {
	by := driver.TakenError{ID: id}
	found, err := t.queryRow(ctx, takenSQL, []any{id}, &by.Workflow)
	if err == nil && found {
		err = by
	}
	return err
}
