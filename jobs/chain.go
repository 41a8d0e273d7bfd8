package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
)

// MaxChain is the largest number of tasks in a chain. The first task stores the data of
// all others.
const MaxChain = 100

// Link is a task in a chain.
type Link struct {
	NewTask
	// Immutable is true if the arguments stay as they are, as for an immutable signature
	// in Celery. Otherwise the result of the previous task is appended to them.
	Immutable bool
}

// EnqueueChain accepts a chain of tasks. Each task is enqueued in the step in which the
// task before it succeeds. If a task does not succeed, the tasks after it are not
// enqueued. If the failed task is requeued and then succeeds, the chain continues. Only
// the first task may have RunAt, Expires or Unique.
//
// EnqueueChain returns the first task, whose id is also the id of the chain. The ids of
// the other tasks are reserved. If the store already has an equal chain with this id,
// EnqueueChain returns the first task of that chain and created is false; RunAt and
// Expires are not compared. If the chain with this id is different, the error wraps
// ErrTaken. Errors are those of Enqueue, and name the index of the task.
func (c *Client) EnqueueChain(ctx context.Context, chain []Link) (first *Task, created bool, err error) {
	if len(chain) == 0 || len(chain) > MaxChain {
		return nil, false, fmt.Errorf("%w: the chain has %d tasks; a chain has 1 to %d", ErrOption, len(chain), MaxChain)
	}
	head := chain[0].NewTask
	if chain[0].Immutable {
		return nil, false, fmt.Errorf("%w: the first task of a chain cannot be immutable: no result precedes it", ErrOption)
	}
	var next *message
	size := 0
	for i := len(chain) - 1; i > 0; i-- {
		link := chain[i]
		if err := c.completeFollower(ctx, &link); err != nil {
			return nil, false, fmt.Errorf("chain[%d]: %w", i, err)
		}
		link.restoreNone(chain[i].NewTask)
		if size += len(link.Args); size > MaxArgs {
			return nil, false, fmt.Errorf("%w: the arguments of the whole chain are longer than %d bytes", ErrArgs, MaxArgs)
		}
		s, err := link.message()
		if err != nil {
			return nil, false, err
		}
		if next != nil {
			s.OnSuccess, s.Immutable = []*message{next}, chain[i+1].Immutable
		}
		next = s
	}
	if err := c.Complete(ctx, &head); err != nil {
		return nil, false, fmt.Errorf("chain[0]: %w", err)
	}
	if next != nil {
		s := &message{UUID: head.ID, Name: head.Name, OnSuccess: []*message{next}, Immutable: chain[1].Immutable}
		if head.Followers, err = followerIDs(s); err != nil {
			return nil, false, err
		}
		if head.Signature, err = json.Marshal(s); err != nil {
			return nil, false, fmt.Errorf("encode chain: %w", err)
		}
	}
	if err := checkIDs(append([]string{head.ID}, head.Followers...)); err != nil {
		return nil, false, err
	}
	if head.Digest, err = chainDigest(chain); err != nil {
		return nil, false, err
	}
	first, created, err = c.Store.Enqueue(ctx, head)
	if created {
		c.count(head)
	}
	return first, created, err
}

// chainDigest returns the Digest of a chain, made of the tasks as the caller gave them.
func chainDigest(chain []Link) (string, error) {
	given := make([]Link, len(chain))
	for i, l := range chain {
		given[i] = Link{NewTask: l.withoutTimes(), Immutable: l.Immutable}
	}
	return digest(given)
}

// completeFollower checks a task that is not the first of its chain and sets its
// defaults.
func (c *Client) completeFollower(ctx context.Context, l *Link) error {
	switch {
	case !l.RunAt.IsZero() || !l.Expires.IsZero():
		return fmt.Errorf("%w: only the first task of a chain may have eta or expires", ErrOption)
	case l.Unique != "":
		return fmt.Errorf("%w: only the first task of a chain may be unique", ErrOption)
	case l.Immutable:
		return c.Complete(ctx, &l.NewTask)
	}
	return c.completeWithResults(ctx, &l.NewTask, 1)
}

// restoreNone sets NoTimeout and NoRetries again after complete has replaced them by zero.
// The link is completed a second time when it is enqueued, and zero would then mean the
// default.
func (l *Link) restoreNone(given NewTask) {
	if given.Timeout == NoTimeout {
		l.Timeout = NoTimeout
	}
	if given.MaxRetries == NoRetries {
		l.MaxRetries = NoRetries
	}
}

// message returns the task in the form in which the previous task of the chain stores it.
func (l Link) message() (*message, error) {
	m := &message{UUID: l.ID, Name: l.Name, RoutingKey: l.Queue, RetryCount: l.MaxRetries}
	if l.Timeout != 0 {
		m.Headers = map[string]any{timeoutHeader: max(l.Timeout, 0).String()}
	}
	var args []json.RawMessage
	if len(l.Args) > 0 {
		if err := json.Unmarshal(l.Args, &args); err != nil {
			return nil, fmt.Errorf("%w: args of %s must be a JSON array", ErrArgs, l.Name)
		}
	}
	for _, a := range args {
		m.Args = append(m.Args, messageArg{Value: a})
	}
	return m, nil
}

// chainOf returns the ids of the chain that t starts. The first is the id of t.
func chainOf(t *Task) ([]string, error) {
	ids := []string{t.ID}
	s, err := messageOf(t)
	if err != nil {
		return nil, err
	}
	for len(s.OnSuccess) > 0 && len(ids) < MaxChain {
		s = s.OnSuccess[0]
		ids = append(ids, cmp.Or(s.UUID, "?"))
	}
	return ids, nil
}
