package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Workflow is the status of a chain, a group or a chord.
type Workflow struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // chain, group or chord
	// State is StateQueued until a task has started, then StateRunning. It becomes
	// StateSuccess at its end, or StateFailed as soon as it can no longer succeed. A group
	// without a callback becomes StateFailed only when all members have ended.
	// StateCancelled means that CancelWorkflow has ended the workflow.
	State     State    `json:"state"`
	Progress  int      `json:"progress"`  // percent of the whole workflow, 0 to 100
	Tasks     []string `json:"tasks"`     // ids in order, without the callback
	Callback  string   `json:"callback"`  // id of the callback of a chord, else empty
	Succeeded int      `json:"succeeded"` // number of tasks that ended as success
	Failed    int      `json:"failed"`    // number of tasks that ended in another state
	// FailedTask is the id of the first task that failed, and Error its error.
	FailedTask string          `json:"failed_task"`
	Error      string          `json:"error"`
	Result     json.RawMessage `json:"result"` // of the last task of a chain or the callback of a chord
	Created    time.Time       `json:"created"`
	Finished   *time.Time      `json:"finished"`
}

// Workflow returns the status of the group or chord with the id, or of the chain
// whose first task has the id. A single task is returned as a chain of one task. The error
// wraps ErrNotFound if no group, chord or task has the id.
func (c *Client) Workflow(ctx context.Context, id string) (*Workflow, error) {
	g, err := c.Store.Group(ctx, id)
	if err == nil {
		return groupStatus(ctx, c.Store, g)
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	first, err := c.Store.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read workflow: %w", err)
	}
	return chainStatus(ctx, c.Store, first)
}

func groupStatus(ctx context.Context, store Reader, g *Group) (*Workflow, error) {
	w := &Workflow{
		ID: g.ID, Kind: "group", State: StateRunning, Tasks: g.Members, Callback: g.Callback, Succeeded: g.Succeeded, Failed: g.Failed,
		FailedTask: g.FailedMember, Error: g.Error, Created: g.Created, Finished: g.Finished,
	}
	done, all := 100*(g.Succeeded+g.Failed), 100*len(g.Members)
	switch {
	case g.Callback != "":
		w.Kind, w.Finished = "chord", nil
		all += 100
		callback, err := store.Get(ctx, g.Callback)
		switch {
		case err == nil:
			if err := w.addCallback(ctx, store, callback); err != nil {
				return nil, err
			}
			done += callback.Progress
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
	case g.Finished != nil && g.Failed > 0:
		w.State = StateFailed
	case g.Finished != nil:
		w.State = StateSuccess
	}
	if g.Aborted && w.State != StateSuccess {
		w.State = StateCancelled
	}
	if done == 0 && w.State == StateRunning {
		started, err := anyStarted(ctx, store, g.Members)
		if err != nil {
			return nil, err
		}
		if !started {
			w.State = StateQueued
		}
	}
	w.Progress = 100 * done / all
	return w, nil
}

// addCallback sets the fields that follow from the callback of a chord, and from the tasks
// after the callback.
func (w *Workflow) addCallback(ctx context.Context, store Reader, callback *Task) error {
	w.Finished, w.Result = callback.Finished, callback.Result
	switch {
	case callback.State == StateSuccess && len(callback.FollowerIDs()) > 0:
		rest, err := chainStatus(ctx, store, callback)
		if err != nil {
			return err
		}
		w.State, w.Finished, w.Result = rest.State, rest.Finished, rest.Result
		if rest.Failed > 0 && w.FailedTask == "" {
			w.FailedTask, w.Error = rest.FailedTask, rest.Error
		}
	case callback.State == StateSuccess:
		w.State = StateSuccess
	case callback.State.Final():
		w.State = StateFailed
		if w.FailedTask == "" {
			w.FailedTask, w.Error = callback.ID, callback.Error
		}
	}
	return nil
}

// anyStarted reports whether one of the tasks has started. It reads only the first three,
// because they start first.
func anyStarted(ctx context.Context, store Reader, ids []string) (bool, error) {
	for _, id := range ids[:min(len(ids), 3)] {
		t, err := store.Get(ctx, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		if err == nil && t.Attempts > 0 {
			return true, nil
		}
	}
	return false, nil
}

// partOf returns the task with the id of an element of a chain. A group is returned as a task
// with its state, and with the error of the first member that failed.
func partOf(ctx context.Context, store Reader, id string) (*Task, error) {
	t, err := store.Get(ctx, id)
	if !errors.Is(err, ErrNotFound) {
		return t, err
	}
	g, err := store.Group(ctx, id)
	if err != nil {
		return nil, err
	}
	t = &Task{ID: cmp.Or(g.FailedMember, g.ID), State: StateRunning, Error: g.Error, Created: g.Created, Finished: g.Finished}
	switch {
	case g.Failed > 0:
		t.State = StateFailed
	case g.Finished != nil:
		t.State = StateSuccess
	}
	t.Progress = 100 * (g.Succeeded + g.Failed) / len(g.Members)
	return t, nil
}

func chainStatus(ctx context.Context, store Reader, first *Task) (*Workflow, error) {
	ids, err := chainOf(first)
	if err != nil {
		return nil, err
	}
	w := &Workflow{ID: first.ID, Kind: "chain", State: StateRunning, Tasks: ids, Created: first.Created}
	done, last := 0, first
	var taken error // set if another workflow uses an id of the chain: older versions reserved no ids
	for i, id := range ids {
		if i > 0 {
			last, err = partOf(ctx, store, id)
			if errors.Is(err, ErrNotFound) {
				break // not enqueued yet
			}
			if err != nil {
				return nil, err
			}
			if by := last.WorkflowID(); by != "" && by != cmp.Or(first.Workflow, first.ID) {
				taken = fmt.Errorf("id %q belongs to workflow %q", id, by)
				break
			}
		}
		if last.State != StateSuccess {
			done += last.Progress
			break
		}
		w.Succeeded++
		done += 100
	}
	w.Progress = done / len(ids)
	switch {
	case taken != nil:
		w.State, w.Finished, w.Failed, w.FailedTask, w.Error = StateFailed, first.Finished, 1, ids[w.Succeeded], taken.Error()
	case w.Succeeded == len(ids):
		w.State, w.Finished, w.Result = StateSuccess, last.Finished, last.Result
	case last != nil && last.State.Final() && last.State != StateSuccess:
		w.State, w.Finished, w.Failed, w.FailedTask, w.Error = StateFailed, last.Finished, 1, last.ID, last.Error
	case first.Attempts == 0:
		w.State = StateQueued
	}
	if first.Aborted && w.State != StateSuccess {
		w.State = StateCancelled
	}
	return w, nil
}
