package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/galeserver/gale/jobs/meter"
)

// Client enqueues tasks in a store and reads, awaits and cancels them. It checks each
// task against its Definition and sets the fields that were left out to their defaults.
// Its methods may be called from many goroutines.
type Client struct {
	Store Store
	// Tasks are the definitions that the workers have. Nil is for a program that does not
	// have the definitions: then any name and any arguments are accepted. A task that no
	// worker can run stays in its queue until a worker with its definition starts.
	Tasks *Registry
	// Announced finds the tasks that are not in Tasks because their handlers are in other
	// programs. Nil: there are none.
	Announced Announced
	Meter     meter.Meter // counts enqueued tasks; default NoMeter
}

// MaxRetries is the largest NewTask.MaxRetries. Stores keep at least as many failures
// of a task, because they count its retries by them.
const MaxRetries = 100

// MaxUniqueFor is the largest NewTask.UniqueFor.
const MaxUniqueFor = 366 * 24 * time.Hour

// maxUnique is the largest size of NewTask.Unique, in bytes.
const maxUnique = 256

// MaxArgs is the largest size of the arguments of a task, in bytes of JSON.
const MaxArgs = 1 << 20

// MaxHeaders is the largest size of NewTask.Headers, in bytes of JSON.
const MaxHeaders = 8 << 10

// Enqueue checks the task, sets the fields that were left out to their defaults and passes
// the task to the store. A task without an id gets a random one. created is false if the
// store already had the task, see Store.Enqueue. A task with Link or LinkError begins a
// workflow, as with EnqueueChain: the ids of all its tasks are reserved.
//
// Errors wrap ErrUnknownTask, ErrArgs, ErrOption, ErrTaken or ErrUnavailable. After
// ErrUnavailable the task may have been accepted or not. It is safe to enqueue it again
// with the same id, so set n.ID if you want to retry.
func (c *Client) Enqueue(ctx context.Context, n NewTask) (t *Task, created bool, err error) {
	given := n
	if err := c.Complete(ctx, &n); err != nil {
		return nil, false, err
	}
	return c.store(ctx, n, given)
}

// store passes a complete task to the store. given is the task as the caller gave it.
func (c *Client) store(ctx context.Context, n, given NewTask) (t *Task, created bool, err error) {
	if len(given.Link)+len(given.LinkError) > 0 {
		if n.Digest, err = linkDigest(given); err != nil {
			return nil, false, err
		}
	}
	return c.enqueue(ctx, n)
}

// EnqueueGroup checks all tasks of a group and enqueues them in one step. A group
// without an id gets a random one; id is what Workflow reads the group with. If the store already
// has an equal group with this id, created is false; RunAt and Expires are not compared.
// If the group with this id is different, the error wraps ErrTaken. The types of the
// results are checked against the arguments of the callback when the callback runs.
// Errors are those of Enqueue, and name the index of the member.
func (c *Client) EnqueueGroup(ctx context.Context, g NewGroup) (id string, created bool, err error) {
	g.ID = cmp.Or(g.ID, NewID())
	if !ValidID(g.ID) {
		return "", false, idError("group", g.ID)
	}
	given := g
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return "", false, fmt.Errorf("%w: the group has %d members; a group has 1 to %d", ErrOption, n, MaxMembers)
	}
	members := make([]NewTask, len(g.Members)) // a copy: the caller's tasks stay unchanged
	for i, n := range g.Members {
		if n.Unique != "" {
			return "", false, fmt.Errorf("group[%d]: %w: a member cannot be unique", i, ErrOption)
		}
		if err := c.Complete(ctx, &n); err != nil {
			return "", false, fmt.Errorf("group[%d]: %w", i, err)
		}
		members[i] = n
	}
	g.Members = members
	if g.Callback != nil {
		callback := *g.Callback
		if callback.Unique != "" {
			return "", false, fmt.Errorf("callback: %w: a callback cannot be unique", ErrOption)
		}
		err := g.Results.Check()
		if err == nil {
			err = c.completeWithResults(ctx, &callback, incomingOf(g.Immutable, g.Results, len(g.Members)))
		}
		if err != nil {
			return "", false, fmt.Errorf("callback: %w", err)
		}
		g.Callback = &callback
	}
	if err := checkIDs(g.IDs()); err != nil {
		return "", false, err
	}
	if g.Digest, err = groupDigest(given); err != nil {
		return "", false, err
	}
	if created, err = c.enqueueGroup(ctx, g); err != nil {
		return "", false, err
	}
	return g.ID, created, nil
}

// groupDigest returns the Digest of a group, made of the tasks as the caller gave them.
func groupDigest(g NewGroup) (string, error) {
	members := make([]NewTask, len(g.Members))
	for i, n := range g.Members {
		members[i] = n.withoutTimes()
	}
	g.Members = members
	if g.Callback != nil {
		callback := g.Callback.withoutTimes()
		g.Callback = &callback
	}
	return digest(g)
}

func (c *Client) count(n NewTask) {
	if c.Meter != nil {
		c.Meter.Count(meter.EventEnqueued, n.Name, n.Queue)
	}
}

// Complete checks a task and sets the fields that were left out to their defaults, as
// Enqueue does before it passes the task to the store.
func (c *Client) Complete(ctx context.Context, n *NewTask) error {
	return c.completeWithResults(ctx, n, incoming{})
}

// completeWithResults is Complete for a task to whose arguments the results of other
// tasks will be added.
func (c *Client) completeWithResults(ctx context.Context, n *NewTask, results incoming) error {
	if err := c.completeTask(ctx, n, results); err != nil {
		return err
	}
	if err := c.setLinks(ctx, n); err != nil {
		return err
	}
	return n.setFollowers()
}

// completeTask is completeWithResults without the links.
func (c *Client) completeTask(ctx context.Context, n *NewTask, results incoming) error {
	if c.Tasks == nil { // of a program without the definitions
		return Definition{Keywords: true}.completeTask(n, results)
	}
	d, err := c.Tasks.Lookup(n.Name)
	if err == nil {
		return d.completeTask(n, results)
	}
	return c.completeForeign(ctx, n, results, err)
}

// completeForeign completes a task that is not in Tasks. It returns unknown if no worker has
// announced the task. One definition that accepts the arguments is enough: while a program
// is replaced by a new version, both run.
func (c *Client) completeForeign(ctx context.Context, n *NewTask, results incoming, unknown error) error {
	err := unknown
	for _, fresh := range []bool{false, true} { // a definition may be newer than the first result
		var all []Definition
		if c.Announced != nil && ValidID(n.Name) {
			var failed error
			if all, failed = c.Announced.Announced(ctx, n.Name, fresh); failed != nil {
				return failed
			}
		}
		err = unknown
		for i, d := range all {
			each := *n
			refused := d.completeTask(&each, results)
			if refused == nil {
				*n = each
				return nil
			}
			if i == 0 {
				err = refused
			}
		}
	}
	if n.WaitForWorker && errors.Is(err, ErrUnknownTask) {
		return Definition{Name: n.Name, foreign: new(foreign)}.completeTask(n, results)
	}
	return err
}

// completeTask checks a task and sets the fields that were left out to the defaults of d.
func (d Definition) completeTask(n *NewTask, results incoming) error {
	d.complete(n)
	n.ID = cmp.Or(n.ID, NewID())
	if !ValidID(n.ID) {
		return idError("task", n.ID)
	}
	if !ValidID(n.Name) {
		return fmt.Errorf("%w %q", ErrUnknownTask, n.Name)
	}
	given, kwargs, err := n.decodeArgs()
	if err != nil {
		return err
	}
	if err := n.checkOptions(time.Now()); err != nil {
		return err
	}
	if d.foreign != nil {
		if err := d.checkForeign(given, kwargs, results); err != nil {
			return err
		}
	}
	keywords := d.Keywords || d.foreign != nil
	if keywords && len(kwargs) > 0 {
		return nil
	}
	if n.Kwargs = nil; keywords {
		return nil
	}
	n.Args, err = d.storedArgs(given, kwargs, results)
	return err
}

// setFollowers sets Followers to the ids of the tasks in Signature.
func (n *NewTask) setFollowers() error {
	if n.Followers != nil || len(n.Signature) == 0 {
		return nil
	}
	s, err := messageOf(&Task{ID: n.ID, Signature: n.Signature})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOption, err)
	}
	n.Followers, err = followerIDs(s)
	return err
}

// complete sets the options of n that are zero to those of the definition. Afterwards, a
// zero Timeout means no time limit and zero MaxRetries means no retries.
func (d Definition) complete(n *NewTask) {
	n.Timeout, n.MaxRetries = firstSet(n.Timeout, d.Timeout, NoTimeout), firstSet(n.MaxRetries, d.MaxRetries, NoRetries)
	n.Queue = cmp.Or(n.Queue, d.Queue, DefaultQueue)
}

// firstSet returns first, or second if first is zero. If the result is none, with which
// callers set an explicit zero, firstSet returns zero.
func firstSet[T comparable](first, second, none T) (value T) {
	if value = cmp.Or(first, second); value == none {
		return *new(T)
	}
	return value
}

// checkOptions returns one error with all invalid options.
func (n NewTask) checkOptions(now time.Time) error {
	var faults []string
	for _, c := range []struct {
		invalid bool
		fault   string
	}{
		{!ValidID(n.Queue), fmt.Sprintf("queue %q: use 1 to 128 letters, digits, dots, underscores and hyphens", n.Queue)},
		{n.Timeout < 0, fmt.Sprintf("timeout %v is negative", n.Timeout)},
		{n.MaxRetries < 0 || n.MaxRetries > MaxRetries, fmt.Sprintf("max_retries %d is not between 0 and %d", n.MaxRetries, MaxRetries)},
		{n.RunAt.After(now.AddDate(10, 0, 0)), "eta is more than ten years away"},
		{!n.Expires.IsZero() && !n.Expires.After(now), "expires is in the past"},
		{!n.Expires.IsZero() && !n.Expires.After(n.RunAt), "expires is not after eta"},
		{len(n.Unique) > maxUnique || !utf8.ValidString(n.Unique), fmt.Sprintf("unique is not UTF-8 text of at most %d bytes", maxUnique)},
		{n.UniqueFor < 0 || n.UniqueFor > MaxUniqueFor, fmt.Sprintf("unique_for %v is not between 1ms and %v", n.UniqueFor, MaxUniqueFor)},
		{n.Headers != nil && (len(n.Headers) > MaxHeaders || !isObject(n.Headers)), fmt.Sprintf("headers are not a JSON object in UTF-8 of at most %d bytes", MaxHeaders)},
		{(n.Unique == "") != (n.UniqueFor < time.Millisecond), "set both unique and unique_for, or neither"},
	} {
		if c.invalid {
			faults = append(faults, c.fault)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrOption, strings.Join(faults, "; "))
	}
	return nil
}
