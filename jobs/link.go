package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Link is a task that follows another one: in a chain, in NewTask.Link or in
// NewTask.LinkError. It cannot have RunAt, Expires or Unique.
type Link struct {
	NewTask
	// Immutable is true if the arguments stay as they are, as for an immutable signature
	// in Celery. Otherwise they get the result of the previous task, as Results says. A task
	// of NewTask.LinkError gets the error text before its arguments instead.
	Immutable bool
	// Results says where the arguments get the result. Default: ResultsAppend.
	Results Results `json:",omitempty"`
	// Group is a group that takes the place of the task. Then NewTask must be empty, and
	// Immutable and Results are for its members. In a chain, the next element is the
	// callback, so the group itself cannot have one, and the next element cannot be a
	// group.
	Group *NewGroup `json:",omitempty"`
}

// results returns the number of results that the tasks after l get.
func (l Link) results() int {
	if l.Group != nil {
		return len(l.Group.Members)
	}
	return 1
}

// EnqueueAfter is Enqueue for a task that follows tasks of another system, such as the body of
// a chord of Celery. Its arguments get their results as the link says. As in a workflow, the
// types of results are not checked here. The link cannot be a group.
func (c *Client) EnqueueAfter(ctx context.Context, l Link, results []json.RawMessage) (t *Task, created bool, err error) {
	if err := l.Results.Check(); err != nil {
		return nil, false, err
	}
	if l.Group != nil {
		return nil, false, fmt.Errorf("%w: use EnqueueGroup for a group", ErrOption)
	}
	n, given := l.NewTask, l.NewTask
	if err := c.completeWithResults(ctx, &n, incomingOf(l.Immutable, l.Results, len(results))); err != nil {
		return nil, false, err
	}
	if !l.Immutable {
		if n.Args, err = n.JoinResults(l.Results, results); err != nil {
			return nil, false, err
		}
	}
	return c.store(ctx, n, given)
}

// setLinks turns Link and LinkError into Signature.
func (c *Client) setLinks(ctx context.Context, n *NewTask) error {
	if len(n.Link)+len(n.LinkError) == 0 {
		return nil
	}
	if len(n.Signature) > 0 {
		return fmt.Errorf("%w: a task has either Signature or links", ErrOption)
	}
	m := &message{UUID: n.ID, Name: n.Name}
	if err := c.addLinks(ctx, m, *n); err != nil {
		return err
	}
	n.Link, n.LinkError = nil, nil
	if err := m.checkSize(); err != nil {
		return err
	}
	return n.setMessage(m)
}

// addLinks adds the links of n to its message.
func (c *Client) addLinks(ctx context.Context, m *message, n NewTask) error {
	for i, l := range n.Link {
		next, err := c.message(ctx, l, 1)
		if err != nil {
			return fmt.Errorf("link[%d]: %w", i, err)
		}
		m.OnSuccess = append(m.OnSuccess, m.mark(next, l.Immutable))
	}
	for i, l := range n.LinkError {
		if l.Group != nil || l.Results != "" {
			return fmt.Errorf("link_error[%d]: %w: it cannot be a group or have results", i, ErrOption)
		}
		next, err := c.message(ctx, l, 1)
		if err != nil {
			return fmt.Errorf("link_error[%d]: %w", i, err)
		}
		if l.Immutable {
			next.Results = resultsNone
		}
		m.OnError = append(m.OnError, next)
	}
	return nil
}

// follow adds a message before the other followers of n.
func (n *NewTask) follow(next *message, immutable bool) error {
	m, err := messageOf(&Task{ID: n.ID, Name: n.Name, Signature: n.Signature})
	if err != nil {
		return err
	}
	if err := m.follow(next, immutable); err != nil {
		return err
	}
	return n.setMessage(m)
}

// message checks a follower, sets its defaults and returns it in the form in which the task
// before it stores it. results is the number of results that it gets, unless it is
// immutable.
func (c *Client) message(ctx context.Context, l Link, results int) (*message, error) {
	if err := l.Results.Check(); err != nil {
		return nil, err
	}
	if l.Group != nil {
		return c.groupMessage(ctx, l, results)
	}
	switch {
	case !l.RunAt.IsZero() || !l.Expires.IsZero():
		return nil, fmt.Errorf("%w: only the first task of a chain may have eta or expires", ErrOption)
	case l.Unique != "":
		return nil, fmt.Errorf("%w: only the first task of a chain may be unique", ErrOption)
	case len(l.Signature) > 0:
		return nil, fmt.Errorf("%w: a task that follows another one cannot have a Signature", ErrOption)
	}
	given := l.NewTask
	if err := c.completeTask(ctx, &l.NewTask, incomingOf(l.Immutable, l.Results, results)); err != nil {
		return nil, err
	}
	l.restoreNone(given)
	m, err := l.message()
	if err == nil {
		err = c.addLinks(ctx, m, given)
	}
	return m, err
}

// groupMessage is message for a group.
func (c *Client) groupMessage(ctx context.Context, l Link, results int) (*message, error) {
	g := l.Group
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return nil, fmt.Errorf("%w: the group has %d members; a group has 1 to %d", ErrOption, n, MaxMembers)
	}
	if l.Name != "" || l.ID != "" {
		return nil, fmt.Errorf("%w: an element of a chain is either a task or a group", ErrOption)
	}
	m := &message{UUID: cmp.Or(g.ID, NewID())}
	for i, n := range g.Members {
		member, err := c.message(ctx, Link{NewTask: n, Immutable: l.Immutable, Results: l.Results}, results)
		if err != nil {
			return nil, fmt.Errorf("group[%d]: %w", i, err)
		}
		if l.Immutable {
			member.Results = resultsNone
		}
		m.Members = append(m.Members, member)
	}
	if g.Callback == nil {
		return m, nil
	}
	callback, err := c.message(ctx, Link{NewTask: *g.Callback, Immutable: g.Immutable, Results: g.Results}, len(g.Members))
	if err != nil {
		return nil, fmt.Errorf("callback: %w", err)
	}
	return m, m.follow(callback, g.Immutable)
}

// GroupOf returns the group with which a chain begins, for Client.EnqueueGroup. The second
// element of the chain is its callback, and the others follow the callback.
func GroupOf(chain []Link) (NewGroup, error) {
	if len(chain) > MaxChain || chain[0].Group == nil || chain[0].Immutable || chain[0].Results != "" {
		return NewGroup{}, fmt.Errorf("%w: a chain has at most %d elements, and the first one, a group, cannot be immutable or have results", ErrOption, MaxChain)
	}
	var next *Link
	for i := len(chain) - 1; i >= 0; i-- {
		l := chain[i]
		switch {
		case next == nil:
		case l.Group == nil:
			l.Link = append([]Link{*next}, l.Link...)
		case next.Group != nil || l.Group.Callback != nil:
			return NewGroup{}, fmt.Errorf("chain[%d]: %w: %w", i+1, ErrOption, errAfterGroup)
		default:
			g := *l.Group
			g.Callback, g.Immutable, g.Results = &next.NewTask, next.Immutable, next.Results
			l.Group = &g
		}
		next = &l
	}
	return *next.Group, nil
}

// errAfterGroup is the reason why an element cannot follow a group.
var errAfterGroup = errors.New("the element after a group is the callback of the group, so it must be a task, and the group itself has no callback")

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

// message returns the task in the form in which the task before it stores it.
func (l Link) message() (*message, error) {
	m := &message{UUID: l.ID, Name: l.Name, RoutingKey: l.Queue, RetryCount: l.MaxRetries, Kwargs: l.Kwargs}
	if l.Results != ResultsAppend {
		m.Results = l.Results
	}
	if err := m.setHeaders(l.Headers, l.Timeout); err != nil {
		return nil, err
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

// linkDigest returns the Digest of a task with links, made of the tasks as the caller gave
// them.
func linkDigest(n NewTask) (string, error) { return digest(n.withoutTimes()) }
