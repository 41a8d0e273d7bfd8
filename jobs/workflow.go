package jobs

import (
	"context"
	"fmt"

	"github.com/RichardKnop/machinery/v2/tasks"
)

// machinery's own sending of workflows publishes step by step: a crash in the
// middle leaves half a group, and an error of one member may be swallowed. Its
// types are taken here, its sending is not.

// SendChain accepts a chain of machinery's: the next task is accepted in the
// step in which the one before it succeeds, with its result as the last
// argument. It returns the first task; errors are those of Enqueue, and of
// EnqueueChain for one that was sent before.
func (c *Client) SendChain(ctx context.Context, chain *tasks.Chain) (*Task, error) {
	n, err := newTask(chain.Tasks[0])
	if err != nil {
		return nil, err
	}
	given := *chain.Tasks[0]
	given.ETA = nil
	if n.Digest, err = digest(given); err != nil {
		return nil, err
	}
	for _, next := range chain.Tasks[1:] {
		if _, err := c.Tasks.Lookup(next.Name); err != nil {
			return nil, err
		}
	}
	t, _, err := c.Enqueue(ctx, n)
	return t, err
}

// SendGroup accepts a group of machinery's in one step. Its id is the group's
// GroupUUID; errors are those of EnqueueGroup.
func (c *Client) SendGroup(ctx context.Context, group *tasks.Group) error {
	g, err := newGroup(group)
	if err == nil {
		_, err = c.EnqueueGroup(ctx, g)
	}
	return err
}

// SendChord accepts a chord of machinery's: see NewGroup for when its callback
// runs. Errors are those of EnqueueGroup.
func (c *Client) SendChord(ctx context.Context, chord *tasks.Chord) error {
	g, err := newGroup(chord.Group)
	if err != nil {
		return err
	}
	callback, err := newTask(chord.Callback)
	if err != nil {
		return fmt.Errorf("callback of the chord: %w", err)
	}
	g.Callback, g.Immutable = &callback, chord.Callback.Immutable
	_, err = c.EnqueueGroup(ctx, g)
	return err
}

// newGroup turns machinery's group into one for the store, which knows the
// members by itself: their messages need not say that they are some.
func newGroup(group *tasks.Group) (NewGroup, error) {
	g := NewGroup{ID: group.GroupUUID, Members: make([]NewTask, len(group.Tasks))}
	for i, s := range group.Tasks {
		member := *s
		member.GroupUUID, member.GroupTaskCount, member.ChordCallback = "", 0, nil
		var err error
		if g.Members[i], err = newTask(&member); err != nil {
			return NewGroup{}, err
		}
	}
	return g, nil
}
