package jobs

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/galeserver/gale/jobs/meter"
)

// Client accepts tasks for a store: it refuses what no worker of this program
// could run, and fills in what was left out.
type Client struct {
	Store Store
	// Tasks are those of the workers. Nil: any name and any arguments are
	// accepted, for a program that does not know them; a task that no worker
	// knows waits until one does.
	Tasks *Registry
	Meter meter.Meter // default NoMeter
}

// MaxRetries is the most that a task may ask for. Stores keep at least as many
// of its failures, which is how those that are left are counted.
const MaxRetries = 100

// Bounds of the unique key of a task, in bytes, and of its time.
const (
	maxUnique    = 256
	MaxUniqueFor = 366 * 24 * time.Hour
)

// MaxArgs is the largest list of arguments, in bytes of JSON.
const MaxArgs = 1 << 20

// Enqueue checks the task and hands it to the store. A missing id is drawn,
// missing arguments take their defaults. Errors wrap ErrUnknownTask, ErrArgs,
// ErrOption, ErrTaken or what else the store returns; with any but the last
// nothing was accepted.
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
// step. The results that a callback takes are checked when it runs. The same group
// once more with the same id, whatever its times are, is one group, created false;
// another one is an error that wraps ErrTaken. Errors are those of Enqueue.
func (c *Client) EnqueueGroup(ctx context.Context, g NewGroup) (created bool, err error) {
	g.ID = cmp.Or(g.ID, NewID())
	if !ValidID(g.ID) {
		return false, invalidID("group", g.ID)
	}
	given := g
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return false, fmt.Errorf("%w: a group of %d is not within 1 to %d", ErrOption, n, MaxMembers)
	}
	members := make([]NewTask, len(g.Members)) // the caller's stay as they are
	for i, n := range g.Members {
		if n.Unique != "" {
			return false, fmt.Errorf("group[%d]: %w: it cannot be unique", i, ErrOption)
		}
		if err := c.complete(&n); err != nil {
			return false, fmt.Errorf("group[%d]: %w", i, err)
		}
		members[i] = n
	}
	g.Members = members
	if g.Callback != nil {
		callback := *g.Callback
		if callback.Unique != "" {
			return false, fmt.Errorf("callback: %w: it cannot be unique", ErrOption)
		}
		check := c.complete
		if !g.Immutable {
			check = func(n *NewTask) error { return c.completeFollower(n, len(g.Members)) }
		}
		if err := check(&callback); err != nil {
			return false, fmt.Errorf("callback: %w", err)
		}
		g.Callback = &callback
	}
	if err := distinct(g.IDs()); err != nil {
		return false, err
	}
	if g.Digest, err = groupDigest(given); err != nil {
		return false, err
	}
	created, err = c.Store.EnqueueGroup(ctx, g)
	if created {
		for _, n := range g.Members {
			c.count(n)
		}
	}
	return created, err
}

// groupDigest is that of a group as the caller gave it.
func groupDigest(g NewGroup) (string, error) {
	members := make([]NewTask, len(g.Members))
	for i, n := range g.Members {
		members[i] = n.timeless()
	}
	g.Members = members
	if g.Callback != nil {
		callback := g.Callback.timeless()
		g.Callback = &callback
	}
	return digest(g)
}

func (c *Client) count(n NewTask) {
	if c.Meter != nil {
		c.Meter.Count(meter.EventEnqueued, n.Name, n.Queue)
	}
}

// complete checks a task and fills in what was left out.
func (c *Client) complete(n *NewTask) error { return c.completeFollower(n, 0) }

// completeFollower is complete for a task whose arguments are followed by results.
func (c *Client) completeFollower(n *NewTask, results int) error {
	var d Definition
	if c.Tasks != nil {
		var err error
		if d, err = c.Tasks.Lookup(n.Name); err != nil {
			return err
		}
	}
	d.complete(n)
	n.ID = cmp.Or(n.ID, NewID())
	if !ValidID(n.ID) {
		return invalidID("task", n.ID)
	}
	if !ValidID(n.Name) {
		return fmt.Errorf("%w %q", ErrUnknownTask, n.Name)
	}
	given, kwargs, err := n.decodeArgs()
	if err != nil {
		return err
	}
	if err := n.reserve(); err != nil {
		return err
	}
	if err := n.checkOptions(time.Now()); err != nil {
		return err
	}
	if c.Tasks == nil {
		if len(kwargs) > 0 {
			return fmt.Errorf("%w: keywords of %s need a client that knows the task", ErrArgs, n.Name)
		}
		n.Kwargs = nil
		return nil
	}
	n.Kwargs = nil
	n.Args, err = d.accept(given, kwargs, results)
	return err
}

// reserve finds the ids of the tasks that the message of a task carries.
func (n *NewTask) reserve() error {
	if n.Followers != nil || len(n.Signature) == 0 {
		return nil
	}
	s, err := messageOf(&Task{ID: n.ID, Signature: n.Signature})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOption, err)
	}
	n.Followers, err = follow(s)
	return err
}

// complete fills in the options that a task leaves to its definition. What it
// leaves behind is what holds: zero is none.
func (d Definition) complete(n *NewTask) {
	n.Timeout, n.MaxRetries = asked(n.Timeout, d.Timeout, NoTimeout), asked(n.MaxRetries, d.MaxRetries, NoRetries)
	n.Queue = cmp.Or(n.Queue, d.Queue, DefaultQueue)
}

// asked is the first of two values that is not zero; none stands for a zero that
// was asked for.
func asked[T comparable](first, second, none T) (value T) {
	if value = cmp.Or(first, second); value == none {
		return *new(T)
	}
	return value
}

// checkOptions says all that is wrong with them.
func (n NewTask) checkOptions(now time.Time) error {
	var wrong []string
	for _, c := range []struct {
		wrong bool
		why   string
	}{
		{!ValidID(n.Queue), fmt.Sprintf("queue %q", n.Queue)},
		{n.Timeout < 0, fmt.Sprintf("timeout %v is negative", n.Timeout)},
		{n.MaxRetries < 0 || n.MaxRetries > MaxRetries, fmt.Sprintf("max_retries %d is not within 0 to %d", n.MaxRetries, MaxRetries)},
		{n.RunAt.After(now.AddDate(10, 0, 0)), "eta is more than ten years away"},
		{!n.Expires.IsZero() && !n.Expires.After(now), "expires is over already"},
		{!n.Expires.IsZero() && !n.Expires.After(n.RunAt), "expires is not after eta"},
		{len(n.Unique) > maxUnique || !utf8.ValidString(n.Unique), fmt.Sprintf("unique is no text of at most %d bytes", maxUnique)},
		{n.UniqueFor < 0 || n.UniqueFor > MaxUniqueFor, fmt.Sprintf("unique_for %v is not within 1ms and %v", n.UniqueFor, MaxUniqueFor)},
		{(n.Unique == "") != (n.UniqueFor < time.Millisecond), "unique and unique_for belong together"},
	} {
		if c.wrong {
			wrong = append(wrong, c.why)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrOption, strings.Join(wrong, "; "))
	}
	return nil
}
