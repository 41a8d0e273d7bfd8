package jobs

import (
	"context"
	"errors"
)

// Get returns the task with the id, or an error that wraps ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (*Task, error) { return c.Store.Get(ctx, id) }

// Wait returns the task once its state is final. Errors are those of Reader.Watch:
// ErrNotFound, or context.Cause(ctx) when ctx ends first.
func (c *Client) Wait(ctx context.Context, id string) (*Task, error) {
	return c.Follow(ctx, id, func(*Task) {})
}

// Follow waits as Wait does. It calls see with the current version of the task and with
// later versions, up to the final one. If the task changes several times while see runs,
// the next call gets only the newest version.
func (c *Client) Follow(ctx context.Context, id string, see func(*Task)) (*Task, error) {
	for version := int64(0); ; {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		t, err := c.Store.Watch(ctx, id, version)
		if err != nil {
			return nil, err
		}
		see(t)
		if t.State.Final() {
			return t, nil
		}
		version = t.Version
	}
}

// Cancel cancels the task with the id in any state that is not final, see
// Changer.Cancel. Errors wrap ErrNotFound, or ErrState if the task has already
// ended in another state.
func (c *Client) Cancel(ctx context.Context, id string) (*Task, error) {
	return c.Store.Cancel(ctx, id)
}

// CancelAny cancels the workflow with the id. If the id is that of a task which
// starts no workflow, it cancels the task. It returns either the workflow or the task that
// was cancelled; the other result is nil.
func (c *Client) CancelAny(ctx context.Context, id string) (*Workflow, *Task, error) {
	_, err := c.Store.Group(ctx, id)
	if errors.Is(err, ErrNotFound) {
		t, err := c.Store.Get(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if part := t.WorkflowID(); part != "" && part != t.ID || len(t.FollowerIDs()) == 0 {
			t, err = c.Store.Cancel(ctx, id)
			return nil, t, err
		}
	} else if err != nil {
		return nil, nil, err
	}
	if err := c.Store.CancelWorkflow(ctx, id); err != nil {
		return nil, nil, err
	}
	w, err := c.Workflow(ctx, id)
	return w, nil, err
}
