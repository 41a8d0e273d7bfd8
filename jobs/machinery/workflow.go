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

// machinery publishes the tasks of a workflow one by one: after a crash only some members of
// a group are enqueued, and the error of a member may be dropped. Therefore the functions
// below accept machinery's types but enqueue the workflow in one step.

// SendChain enqueues a tasks.Chain of machinery. Each task is enqueued in the step in which
// the task before it succeeds, with the result appended to its arguments. It returns the
// first task. Errors are those of jobs.Client.EnqueueChain.
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

// SendGroup enqueues a tasks.Group of machinery in one step. Its GroupUUID is the id of the
// group. Errors are those of jobs.Client.EnqueueGroup.
func SendGroup(ctx context.Context, c *jobs.Client, group *tasks.Group) error {
	g, err := newGroup(group)
	if err == nil {
		_, _, err = c.EnqueueGroup(ctx, g)
	}
	return err
}

// SendChord enqueues a tasks.Chord of machinery. NewGroup.Callback describes when its
// callback runs. Errors are those of jobs.Client.EnqueueGroup.
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
	_, _, err = c.EnqueueGroup(ctx, g)
	return err
}

// newGroup converts a group of machinery. It removes the group from the signatures of the
// members, because the store records which tasks are members.
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

// newTask converts a signature of machinery. Followers without an id get one in the
// caller's signature, so that the caller can read them later.
func newTask(s *tasks.Signature) (jobs.NewTask, error) {
	setIDs(s)
	message, err := json.Marshal(s)
	if err != nil {
		return jobs.NewTask{}, fmt.Errorf("enqueue %s: encode signature: %w", s.Name, err)
	}
	return jobs.FromMessage(message)
}

// setIDs sets the id of each follower that has none.
func setIDs(s *tasks.Signature) {
	for _, next := range slices.Concat(s.OnSuccess, s.OnError) {
		if next != nil { // jobs.FromMessage reports nil
			next.UUID = cmp.Or(next.UUID, jobs.NewID())
			setIDs(next)
		}
	}
}

// digestOf returns the Digest of a chain.
func digestOf(s tasks.Signature) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode workflow: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// stateOf converts a task to the type that machinery's result backend returns.
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
