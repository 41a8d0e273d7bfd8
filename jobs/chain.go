package jobs

import (
	"cmp"
	"context"
	"fmt"
)

// MaxChain is the largest number of tasks in a chain. The first task stores the data of
// all others.
const MaxChain = 100

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
	if chain[0].Group != nil {
		return nil, false, fmt.Errorf("chain[0]: %w: a chain that begins with a group is a NewGroup whose Callback has links", ErrOption)
	}
	if chain[0].Immutable || chain[0].Results != "" {
		return nil, false, fmt.Errorf("%w: the first task of a chain cannot be immutable or have results: no result precedes it", ErrOption)
	}
	next, err := c.chainMessage(ctx, chain)
	if err != nil {
		return nil, false, err
	}
	if err := c.Complete(ctx, &head); err != nil {
		return nil, false, fmt.Errorf("chain[0]: %w", err)
	}
	if next != nil {
		if err := head.follow(next, chain[1].Immutable); err != nil {
			return nil, false, err
		}
	}
	if err := checkIDs(append([]string{head.ID}, head.Followers...)); err != nil {
		return nil, false, err
	}
	if head.Digest, err = chainDigest(chain); err != nil {
		return nil, false, err
	}
	return c.enqueue(ctx, head)
}

// chainDigest returns the Digest of a chain, made of the tasks as the caller gave them.
func chainDigest(chain []Link) (string, error) {
	given := make([]Link, len(chain))
	for i, l := range chain {
		l.NewTask = l.withoutTimes()
		given[i] = l
	}
	return digest(given)
}

// chainMessage returns the tasks of a chain after the first one, each nested in the one
// before it, or nil if there are none.
func (c *Client) chainMessage(ctx context.Context, chain []Link) (next *message, err error) {
	for i := len(chain) - 1; i > 0; i-- {
		m, err := c.message(ctx, chain[i], chain[i-1].results())
		if err == nil && next != nil {
			err = m.follow(next, chain[i+1].Immutable)
		}
		if err == nil {
			err = m.checkSize()
		}
		if err != nil {
			return nil, fmt.Errorf("chain[%d]: %w", i, err)
		}
		next = m
	}
	return next, nil
}

// chainOf returns the ids of the chain that t starts. The first is the id of t; an element
// that is a group has the id of the group.
func chainOf(t *Task) ([]string, error) {
	ids := []string{t.ID}
	m, err := messageOf(t)
	if err != nil {
		return nil, err
	}
	for len(ids) < MaxChain {
		switch {
		case m.Callback != nil:
			m = m.Callback
		case len(m.OnSuccess) > 0 && m.OnSuccess[0] != nil:
			m = m.OnSuccess[0]
		default:
			return ids, nil
		}
		ids = append(ids, cmp.Or(m.UUID, "?"))
	}
	return ids, nil
}
