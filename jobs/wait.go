package jobs

import "context"

// Wait returns the task once its state is final. Errors are those of
// Reader.Watch: ErrNotFound, or context.Cause(ctx) when ctx ends first.
func Wait(ctx context.Context, store Reader, id string) (*Task, error) {
	return Follow(ctx, store, id, func(*Task) {})
}

// Follow is Wait that calls see for the task as it is, and whenever it has
// changed since see returned, the last time with its end.
func Follow(ctx context.Context, store Reader, id string, see func(*Task)) (*Task, error) {
	for version := int64(0); ; {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		t, err := store.Watch(ctx, id, version)
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

// Get returns the task of that id, or an error that wraps ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (*Task, error) { return c.Store.Get(ctx, id) }

// Wait returns the task of that id once its state is final. Errors are those of
// the function Wait.
func (c *Client) Wait(ctx context.Context, id string) (*Task, error) { return Wait(ctx, c.Store, id) }

// Cancel ends the task of that id, whatever it is at, see Changer.Cancel. Errors
// wrap ErrNotFound, or ErrState if it has ended otherwise.
func (c *Client) Cancel(ctx context.Context, id string) (*Task, error) {
	return c.Store.Cancel(ctx, id)
}
