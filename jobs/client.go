package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Client accepts tasks for a store: it refuses what no worker of this program
// could run, and fills in what was left out.
type Client struct {
	Store Enqueuer
	Tasks *Registry
	Meter Meter // default NoMeter
}

// MaxRetries is the most that a task may ask for. Stores keep at least as many
// of its failures, which is how those that are left are counted.
const MaxRetries = 100

// MaxArgs is the largest list of arguments, in bytes of JSON.
const MaxArgs = 1 << 20

// Enqueue checks the task and hands it to the store. A missing id is drawn,
// missing arguments take their defaults. Errors wrap ErrUnknownTask, ErrArgs,
// ErrID, ErrOption or what the store returns; with any but the last nothing
// was accepted.
func (c *Client) Enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error) {
	if err := c.complete(&n); err != nil {
		return nil, false, err
	}
	t, created, err = c.Store.Enqueue(ctx, n)
	if created {
		c.count(n)
	}
	return t, created, err
}

// EnqueueGroup checks all tasks of a group and hands them to the store in one
// step. The arguments of a callback that takes results are checked when it
// runs. Errors are those of Enqueue.
func (c *Client) EnqueueGroup(ctx context.Context, g NewGroup) (created bool, err error) {
	g.ID = cmp.Or(g.ID, NewID())
	if !ValidID(g.ID) {
		return false, ErrID
	}
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return false, fmt.Errorf("%w: a group of %d is not within 1 to %d", ErrOption, n, MaxMembers)
	}
	members := make([]NewTask, len(g.Members)) // the caller's stay as they are
	for i, n := range g.Members {
		if err := c.complete(&n); err != nil {
			return false, fmt.Errorf("member %d of the group: %w", i+1, err)
		}
		members[i] = n
	}
	g.Members = members
	if g.Callback != nil {
		callback := *g.Callback
		check := c.complete
		if !g.Immutable {
			check = c.completeOptions
		}
		if err := check(&callback); err != nil {
			return false, fmt.Errorf("callback of the group: %w", err)
		}
		g.Callback = &callback
	}
	created, err = c.Store.EnqueueGroup(ctx, g)
	if created {
		for _, n := range g.Members {
			c.count(n)
		}
	}
	return created, err
}

func (c *Client) count(n NewTask) {
	if c.Meter != nil {
		c.Meter.Count(Enqueued, n.Name, n.Queue)
	}
}

// complete checks a task and fills in what was left out.
func (c *Client) complete(n *NewTask) error {
	if err := c.completeOptions(n); err != nil {
		return err
	}
	d, err := c.Tasks.Lookup(n.Name)
	if err == nil {
		n.Args, err = d.checkArgs(n.Args)
	}
	return err
}

// completeOptions does that for all but the arguments.
func (c *Client) completeOptions(n *NewTask) error {
	d, err := c.Tasks.Lookup(n.Name)
	if err != nil {
		return err
	}
	n.Timeout, n.MaxRetries = cmp.Or(n.Timeout, d.Timeout), cmp.Or(n.MaxRetries, d.MaxRetries)
	n.ID, n.Queue = cmp.Or(n.ID, NewID()), cmp.Or(n.Queue, DefaultQueue)
	var list []json.RawMessage
	switch {
	case !ValidID(n.ID):
		return ErrID
	case !ValidID(n.Queue):
		return fmt.Errorf("%w: queue %q", ErrOption, n.Queue)
	case n.Timeout < 0:
		return fmt.Errorf("%w: timeout %v is negative", ErrOption, n.Timeout)
	case n.MaxRetries < 0 || n.MaxRetries > MaxRetries:
		return fmt.Errorf("%w: max_retries %d is not within 0 to %d", ErrOption, n.MaxRetries, MaxRetries)
	case n.RunAt.After(time.Now().AddDate(10, 0, 0)):
		return fmt.Errorf("%w: eta is more than ten years away", ErrOption)
	case len(n.Args) > MaxArgs:
		return fmt.Errorf("%w: %d bytes are more than %d", ErrArgs, len(n.Args), MaxArgs)
	case len(n.Args) > 0 && json.Unmarshal(n.Args, &list) != nil:
		return fmt.Errorf("%w: %s takes a JSON array, by position", ErrArgs, n.Name)
	}
	return nil
}
