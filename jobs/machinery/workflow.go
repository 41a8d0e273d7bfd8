package machinery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
)

// machinery's own sending of workflows publishes step by step: a crash in the
// middle leaves half a group, and an error of one member may be swallowed. Its
// types are taken here, its sending is not.

// SendChain accepts a chain of machinery's: the next task is accepted in the
// step in which the one before it succeeds, with its result as the last
// argument. It returns the first task; errors are those of Enqueue, and of
// EnqueueChain for one that was sent before.
func SendChain(ctx context.Context, c *jobs.Client, chain *tasks.Chain) (*jobs.Task, error) {
	n, err := newTask(chain.Tasks[0])
	if err != nil {
		return nil, err
	}
	given := *chain.Tasks[0]
	given.ETA = nil
	if n.Digest, err = digestOf(given); err != nil {
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
func SendGroup(ctx context.Context, c *jobs.Client, group *tasks.Group) error {
	g, err := newGroup(group)
	if err == nil {
		_, err = c.EnqueueGroup(ctx, g)
	}
	return err
}

// SendChord accepts a chord of machinery's: see NewGroup for when its callback
// runs. Errors are those of EnqueueGroup.
func SendChord(ctx context.Context, c *jobs.Client, chord *tasks.Chord) error {
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
func newGroup(group *tasks.Group) (jobs.NewGroup, error) {
	g := jobs.NewGroup{ID: group.GroupUUID, Members: make([]jobs.NewTask, len(group.Tasks))}
	for i, s := range group.Tasks {
		member := *s
		member.GroupUUID, member.GroupTaskCount, member.ChordCallback = "", 0, nil
		var err error
		if g.Members[i], err = newTask(&member); err != nil {
			return jobs.NewGroup{}, err
		}
	}
	return g, nil
}

// newTask turns machinery's message into a task for the store. It gives an id to
// those that follow and have none: the caller's, who can look for them.
func newTask(s *tasks.Signature) (jobs.NewTask, error) {
	identify(s)
	message, err := json.Marshal(s)
	if err != nil {
		return jobs.NewTask{}, fmt.Errorf("enqueue %s: encode signature: %w", s.Name, err)
	}
	return jobs.FromMessage(message)
}

func identify(s *tasks.Signature) {
	for _, next := range slices.Concat(s.OnSuccess, s.OnError) {
		if next != nil { // jobs.FromMessage refuses it
			next.UUID = cmp.Or(next.UUID, jobs.NewID())
			identify(next)
		}
	}
}

// digestOf tells one chain from another, as the caller gave it.
func digestOf(s tasks.Signature) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode workflow: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// stateOf is a task as machinery's result backend shows it.
func stateOf(t *jobs.Task) *tasks.TaskState {
	state := map[jobs.State]string{
		jobs.StateScheduled: tasks.StatePending, jobs.StateQueued: tasks.StatePending, jobs.StateRunning: tasks.StateStarted,
		jobs.StateRetrying: tasks.StateRetry, jobs.StateSuccess: tasks.StateSuccess,
		jobs.StateFailed: tasks.StateFailure, jobs.StateCancelled: tasks.StateFailure, jobs.StateDead: tasks.StateFailure,
	}[t.State]
	s := &tasks.TaskState{TaskUUID: t.ID, TaskName: t.Name, State: state, Error: t.Error, CreatedAt: t.Created}
	if t.State == jobs.StateSuccess {
		s.Results = []*tasks.TaskResult{{Type: "string", Value: string(t.Result)}}
	}
	return s
}
