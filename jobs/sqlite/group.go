package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// EnqueueGroup implements jobs.Store. The results of the members are read from their rows
// when the last member has ended, so these rows are kept until then.
func (s *Store) EnqueueGroup(ctx context.Context, g jobs.NewGroup) (created bool, err error) {
	if err = g.Check(); err == nil {
		err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) (err error) {
			created, err = tx.insertGroup(ctx, g)
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("enqueue group: %w", err)
	}
	return created, nil
}

func (t *tx) insertGroup(ctx context.Context, g jobs.NewGroup) (created bool, err error) {
	if _, err := t.removeExpired(ctx, g.ID); err != nil {
		return false, err
	}
	var stored string
	if found, err := t.queryRow(ctx, `SELECT digest FROM groups WHERE id = ?`, []any{g.ID}, &stored); err != nil || found {
		return false, errors.Join(err, driver.CheckSameGroup(g, stored))
	}
	if err := t.taken(ctx, g.ID); err != nil {
		return false, err
	}
	seq, err := t.insertGroupRow(ctx, g, "")
	if err != nil {
		return false, err
	}
	for i, n := range g.Members {
		m := member{sql.Null[int64]{V: seq, Valid: true}, i}
		if fresh, err := t.insert(ctx, n, m, ""); err != nil {
			return false, err
		} else if !fresh {
			return false, t.taken(ctx, n.ID)
		}
		if err := t.reserve(ctx, n.Followers, g.ID, afterTask, n.ID); err != nil {
			return false, err
		}
	}
	if g.Callback == nil {
		return true, nil
	}
	later := append([]string{g.Callback.ID}, g.Callback.Followers...)
	return true, t.reserve(ctx, later, g.ID, afterGroup, g.ID)
}

// insertGroupRow inserts a group without its members, and returns its seq. workflow is the id
// of the chain of which the group is a part, or empty.
func (t *tx) insertGroupRow(ctx context.Context, g jobs.NewGroup, workflow string) (seq int64, err error) {
	ids := make([]string, len(g.Members))
	for i, n := range g.Members {
		ids[i] = n.ID
	}
	members, err := jsonText(ids)
	if err != nil {
		return 0, err
	}
	var callback []byte
	callbackID := ""
	if g.Callback != nil {
		callbackID = g.Callback.ID
		if callback, err = json.Marshal(g.Callback); err != nil {
			return 0, err
		}
	}
	followers, err := jsonText(g.Followers())
	if err != nil {
		return 0, err
	}
	_, err = t.queryRow(ctx, `
		INSERT INTO groups (id, created, size, members, immutable, callback_id, callback, followers, digest, workflow)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq`,
		[]any{g.ID, t.now.UnixMicro(), len(ids), members, driver.GroupResults(g), callbackID, text(callback), followers, g.Digest, workflow}, &seq)
	return seq, err
}

// nextGroup enqueues a group that follows a task of a workflow, which has reserved all ids of
// the group. A group of which an id is in use elsewhere is skipped.
func (t *tx) nextGroup(ctx context.Context, g jobs.NewGroup, workflow string) error {
	for _, id := range g.IDs() {
		var by string
		found, err := t.queryRow(ctx, `SELECT workflow FROM reserved WHERE id = ? AND workflow = ?`, []any{id, workflow}, &by)
		if err != nil || !found {
			return err
		}
	}
	seq, err := t.insertGroupRow(ctx, g, workflow)
	if err != nil {
		return err
	}
	if err := t.exec(ctx, `DELETE FROM reserved WHERE id = ?`, g.ID); err != nil {
		return err
	}
	for i, n := range g.Members {
		if err := t.nextTask(ctx, n, member{sql.Null[int64]{V: seq, Valid: true}, i}, workflow); err != nil {
			return err
		}
	}
	if g.Callback == nil {
		return nil
	}
	later, err := jsonText(append([]string{g.Callback.ID}, g.Callback.Followers...))
	if err != nil {
		return err
	}
	return t.exec(ctx, `UPDATE reserved SET after_group = ?, after_task = NULL WHERE id IN (SELECT value FROM json_each(?)) AND workflow = ?`,
		seq, later, workflow)
}

// text returns the value of a nullable column.
func text(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// memberEnded counts a member in the transaction in which it ends. If it is the last one
// and all have succeeded, it enqueues the callback. If it is the first one that failed, it
// stores the callback as failed, or as cancelled if the workflow was cancelled.
func (t *tx) memberEnded(ctx context.Context, m member, id string, state jobs.State, reason string) error {
	if !m.group.Valid {
		return nil
	}
	reason = driver.GroupReason(reason)
	good, bad := 1, 0
	if state != jobs.StateSuccess {
		good, bad = 0, 1
	}
	var succeeded, failed, size int
	var aborted bool
	var results int
	var callback []byte
	var workflow string
	found, err := t.queryRow(ctx, `
		UPDATE groups SET succeeded = succeeded + ?1, failed = failed + ?2,
			finished = CASE WHEN succeeded + failed + 1 = size THEN ?3 END,
			failed_id = CASE WHEN ?2 = 1 AND failed = 0 THEN ?5 ELSE failed_id END,
			reason = CASE WHEN ?2 = 1 AND failed = 0 THEN ?6 ELSE reason END
		WHERE seq = ?4 RETURNING succeeded, failed, size, immutable, callback,
			CASE WHEN workflow <> '' THEN workflow ELSE id END, aborted`,
		[]any{good, bad, t.now.UnixMicro(), m.group, id, reason},
		&succeeded, &failed, &size, &results, &callback, &workflow, &aborted)
	if err != nil || !found || callback == nil {
		return err
	}
	var n jobs.NewTask
	if err := json.Unmarshal(callback, &n); err != nil {
		return fmt.Errorf("decode callback: %w", err)
	}
	switch {
	case bad == 1 && failed == 1 && aborted:
		return t.insertEnded(ctx, n, workflow, jobs.StateCancelled, driver.AbortReason)
	case bad == 1 && failed == 1:
		return t.insertEnded(ctx, n, workflow, jobs.StateFailed, driver.ChordError(id, reason))
	case succeeded == size:
		if how, some := driver.ResultsOf(results); some {
			if n.Args, err = t.withResults(ctx, n.Args, how, m.group); err != nil {
				return err
			}
		}
		return t.next(ctx, n, workflow)
	}
	return nil
}

const resultsSQL = `SELECT result FROM tasks INDEXED BY tasks_group WHERE group_seq = ? ORDER BY member`

// withResults adds the results of the members of a group to the arguments of its callback.
func (t *tx) withResults(ctx context.Context, args json.RawMessage, how jobs.Results, group sql.Null[int64]) (json.RawMessage, error) {
	rows, err := t.query(ctx, resultsSQL, group.V)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	var results []json.RawMessage
	for rows.Next() {
		var r []byte
		if err := rows.Scan(&r); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return jobs.NewTask{Args: args}.JoinResults(how, results)
}

// insertEnded stores a callback that will never start, as failed or cancelled. Its
// followers will not be enqueued, except its OnError tasks if it failed.
func (t *tx) insertEnded(ctx context.Context, n jobs.NewTask, workflow string, state jobs.State, reason string) error {
	err := t.unreserve(ctx, n.Followers, workflow)
	if err != nil {
		return err
	}
	n.Followers = nil
	created, err := t.insert(ctx, n, member{}, workflow)
	if err != nil || !created {
		return err
	}
	failures := "[]"
	if state == jobs.StateFailed {
		if failures, err = addFailure(failures, jobs.Failure{Time: t.now.UTC(), Error: reason}); err != nil {
			return err
		}
	}
	err = t.exec(ctx, `UPDATE tasks SET state = ?, due = NULL, finished = ?, error = ?, failures = ?, aborted = ? WHERE id = ?`,
		string(state), t.now.UnixMicro(), reason, failures, state == jobs.StateCancelled, n.ID)
	if err != nil || state != jobs.StateFailed {
		return err
	}
	return t.nextAfterError(ctx, n, workflow, reason)
}

// nextAfterError enqueues the OnError tasks of a task that ends without a worker.
func (t *tx) nextAfterError(ctx context.Context, n jobs.NewTask, workflow, reason string) error {
	for _, l := range n.ErrorLinks() {
		if err := t.next(ctx, l.WithReason(reason), workflow); err != nil {
			return err
		}
	}
	return nil
}

// Group implements jobs.Reader.
func (s *Store) Group(ctx context.Context, id string) (*jobs.Group, error) {
	g := &jobs.Group{ID: id}
	var members []byte
	var created int64
	var finished sql.Null[int64]
	err := s.read.queryRow(ctx, groupSQL, id).Scan(&members, &g.Callback, &g.Succeeded, &g.Failed, &created, &finished, &g.FailedMember, &g.Error, &g.Aborted)
	g.Created, g.Finished, g.Error = fromMicro(created), fromNull(finished), utf8text.Repair(g.Error)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && s.gone(g.Finished, time.Now()):
		err = jobs.ErrNotFound
	case err != nil:
		err = s.readError(ctx, err)
	default:
		err = json.Unmarshal(members, &g.Members)
	}
	if err != nil {
		return nil, fmt.Errorf("get group %s: %w", id, err)
	}
	return g, nil
}

const groupSQL = `SELECT members, callback_id, succeeded, failed, created, finished, failed_id, reason, aborted FROM groups WHERE id = ?`
