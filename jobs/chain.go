package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
)

// MaxChain is how many tasks a chain may have: each carries those behind it.
const MaxChain = 100

// Link is a task in a chain.
type Link struct {
	NewTask
	// Immutable leaves the task's arguments as they are. Otherwise the result of
	// the one before it follows them.
	Immutable bool
}

// EnqueueChain accepts tasks of which each begins when the one before it has
// succeeded, being accepted in the same step. If one does not succeed those
// behind it are never accepted, see Client.Workflow; when it is tried again and
// does, the chain goes on. Only the first may have a time, expire or be unique.
// It returns the first; the chain has that one's id. The ids of all are reserved.
// The same chain once more with the same id, whatever its times are, is one chain,
// created false; another one is an error that wraps ErrTaken. Errors are those of
// Enqueue and name the place.
func (c *Client) EnqueueChain(ctx context.Context, chain []Link) (first *Task, created bool, err error) {
	if len(chain) == 0 || len(chain) > MaxChain {
		return nil, false, fmt.Errorf("%w: a chain of %d is not within 1 to %d", ErrOption, len(chain), MaxChain)
	}
	head := chain[0].NewTask
	if chain[0].Immutable {
		return nil, false, fmt.Errorf("%w: the first of a chain has no result before it", ErrOption)
	}
	var next *message
	size := 0
	for i := len(chain) - 1; i > 0; i-- {
		link := chain[i]
		if err := c.completeLink(&link); err != nil {
			return nil, false, fmt.Errorf("chain[%d]: %w", i, err)
		}
		link.keepNone(chain[i].NewTask)
		if size += len(link.Args); size > MaxArgs {
			return nil, false, fmt.Errorf("%w: those of the chain are more than %d bytes", ErrArgs, MaxArgs)
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
	if err := c.complete(&head); err != nil {
		return nil, false, fmt.Errorf("chain[0]: %w", err)
	}
	if next != nil {
		s := &message{UUID: head.ID, Name: head.Name, OnSuccess: []*message{next}, Immutable: chain[1].Immutable}
		if head.Followers, err = follow(s); err != nil {
			return nil, false, err
		}
		if head.Signature, err = json.Marshal(s); err != nil {
			return nil, false, fmt.Errorf("encode chain: %w", err)
		}
	}
	if err := distinct(append([]string{head.ID}, head.Followers...)); err != nil {
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

// chainDigest is that of a chain as the caller gave it.
func chainDigest(chain []Link) (string, error) {
	given := make([]Link, len(chain))
	for i, l := range chain {
		given[i] = Link{NewTask: l.timeless(), Immutable: l.Immutable}
	}
	return digest(given)
}

// completeLink checks a task that is not the first. How many arguments it has
// with the result, which may be anything, is for its definition to bear.
func (c *Client) completeLink(l *Link) error {
	switch {
	case !l.RunAt.IsZero() || !l.Expires.IsZero():
		return fmt.Errorf("%w: only the first of a chain has eta or expires", ErrOption)
	case l.Unique != "":
		return fmt.Errorf("%w: only the first of a chain can be unique", ErrOption)
	case l.Immutable:
		return c.complete(&l.NewTask)
	}
	return c.completeFollower(&l.NewTask, 1)
}

// keepNone restores the sentinels in a link that was completed from what was
// asked: its options are completed once more when it is accepted.
func (l *Link) keepNone(asked NewTask) {
	if asked.Timeout == NoTimeout {
		l.Timeout = NoTimeout
	}
	if asked.MaxRetries == NoRetries {
		l.MaxRetries = NoRetries
	}
}

// message is the task as the one before it carries it.
func (l Link) message() (*message, error) {
	m := &message{UUID: l.ID, Name: l.Name, RoutingKey: l.Queue, RetryCount: l.MaxRetries}
	if l.Timeout != 0 {
		m.Headers = map[string]any{timeoutHeader: max(l.Timeout, 0).String()}
	}
	var args []json.RawMessage
	if len(l.Args) > 0 {
		if err := json.Unmarshal(l.Args, &args); err != nil {
			return nil, fmt.Errorf("%w: %s takes a JSON array, by position", ErrArgs, l.Name)
		}
	}
	for _, a := range args {
		m.Args = append(m.Args, messageArg{Value: a})
	}
	return m, nil
}

// chainOf returns the ids of the chain that a task begins, at least its own.
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
