package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/galeserver/gale/jobs/driver"
)

// CancelWorkflow implements jobs.Changer.
func (s *Store) CancelWorkflow(ctx context.Context, id string) error {
	err := s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error { return tx.abort(ctx, id) })
	if err != nil {
		return fmt.Errorf("cancel workflow %s: %w", id, err)
	}
	return nil
}

// workflow holds the properties of a workflow that abort uses.
type workflow struct {
	parts   []string // ids of the tasks that may belong to it
	old     bool     // whether it was accepted under schema 2, which stored no workflow id in a task
	aborted bool
	mark    string // statement that sets the column aborted
}

// abort cancels the tasks of the workflow that have not ended. It returns
// driver.ErrWorkflowEnded if there are none.
func (t *tx) abort(ctx context.Context, id string) error {
	w, err := t.workflowOf(ctx, id)
	if err != nil || w.aborted {
		return err
	}
	parts, err := jsonText(w.parts)
	if err != nil {
		return err
	}
	// Set aborted before the tasks are cancelled: the first cancelled member of a group
	// ends the callback, and memberEnded then reads aborted.
	if err := t.exec(ctx, w.mark, id); err != nil {
		return err
	}
	if err := t.exec(ctx, `UPDATE groups SET aborted = 1 WHERE id IN (SELECT value FROM json_each(?)) AND workflow = ?`, parts, id); err != nil {
		return err
	}
	ended := 0
	for _, part := range w.parts {
		found, err := t.rowsOf(ctx, getTask, part)
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].task.WorkflowID() != id && (!w.old || found[0].task.WorkflowID() != "") {
			continue
		}
		r := found[0]
		if err := t.exec(ctx, `UPDATE tasks SET aborted = 1 WHERE seq = ?`, r.seq); err != nil {
			return err
		}
		if r.task.State.Final() {
			continue
		}
		ended++
		if err := t.cancel(ctx, r, driver.AbortReason); err != nil {
			return err
		}
	}
	if ended == 0 {
		return driver.ErrWorkflowEnded
	}
	return t.unreserve(ctx, w.parts, id)
}

// workflowOf returns the group with the id, or the chain whose first task has the id.
func (t *tx) workflowOf(ctx context.Context, id string) (w workflow, err error) {
	if _, err := t.removeExpired(ctx, id); err != nil {
		return w, err
	}
	var members, followers []byte
	var callback, chain string
	found, err := t.queryRow(ctx, `SELECT members, callback_id, followers, aborted, workflow FROM groups WHERE id = ?`, []any{id},
		&members, &callback, &followers, &w.aborted, &chain)
	if err == nil && chain != "" {
		err = driver.PartOf(chain)
	}
	if err != nil {
		return w, err
	}
	if !found {
		first, err := t.get(ctx, id)
		if err != nil {
			return w, err
		}
		if err := driver.CheckCancelWorkflow(first); err != nil {
			return w, err
		}
		w.mark = `UPDATE tasks SET aborted = 1 WHERE id = ?`
		w.parts, w.old, w.aborted = append([]string{id}, first.FollowerIDs()...), first.Workflow == "", first.Aborted
		return w, nil
	}
	w.mark, w.old = `UPDATE groups SET aborted = 1 WHERE id = ?`, followers == nil
	var more []string
	if err := json.Unmarshal(members, &w.parts); err != nil {
		return w, fmt.Errorf("decode group: %w", err)
	}
	if followers != nil {
		if err := json.Unmarshal(followers, &more); err != nil {
			return w, fmt.Errorf("decode group: %w", err)
		}
	}
	if callback != "" {
		w.parts = append(w.parts, callback)
	}
	w.parts = append(w.parts, more...)
	return w, nil
}
