package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/RichardKnop/machinery/v2/tasks"
)

// newTask turns machinery's message into a task for the store. The arguments
// go by position as JSON; callbacks travel in the message itself.
func newTask(s *tasks.Signature) (NewTask, error) {
	if s.ChordCallback != nil || s.GroupUUID != "" {
		return NewTask{}, fmt.Errorf("enqueue %s: members of groups are accepted together, by Client.SendGroup: %w", s.Name, errors.ErrUnsupported)
	}
	values := make([]any, len(s.Args))
	for i, arg := range s.Args {
		values[i] = arg.Value
	}
	args, err := json.Marshal(values)
	if err != nil {
		return NewTask{}, fmt.Errorf("enqueue %s: encode arguments: %w", s.Name, err)
	}
	n := NewTask{ID: s.UUID, Name: s.Name, Queue: s.RoutingKey, Args: args, MaxRetries: s.RetryCount, Timeout: timeoutOf(s)}
	if s.ETA != nil {
		n.RunAt = *s.ETA
	}
	if len(s.OnSuccess)+len(s.OnError) > 0 {
		if n.Followers, err = follow(s); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: %w", s.Name, err)
		}
		if n.Signature, err = json.Marshal(s); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: encode signature: %w", s.Name, err)
		}
	}
	return n, nil
}

// signatureOf is the message that machinery's worker gets for a task. It has
// no arguments: the handler takes them from its Job, as JSON. It has no
// retries: the engine decides about these.
func signatureOf(t *Task) (*tasks.Signature, error) {
	s := &tasks.Signature{}
	if len(t.Signature) > 0 {
		dec := json.NewDecoder(bytes.NewReader(t.Signature))
		dec.UseNumber() // else 64-bit integers lose digits
		if err := dec.Decode(s); err != nil {
			return nil, fmt.Errorf("decode signature: %w", err)
		}
	}
	s.UUID, s.Name, s.RoutingKey = t.ID, t.Name, t.Queue
	s.Args, s.ETA, s.RetryCount = nil, nil, 0
	return s, nil
}

// stateOf is a task as machinery's result backend shows it.
func stateOf(t *Task) *tasks.TaskState {
	state := map[State]string{
		StateScheduled: tasks.StatePending, StateQueued: tasks.StatePending, StateRunning: tasks.StateStarted,
		StateRetrying: tasks.StateRetry, StateSuccess: tasks.StateSuccess,
		StateFailed: tasks.StateFailure, StateCancelled: tasks.StateFailure, StateDead: tasks.StateFailure,
	}[t.State]
	s := &tasks.TaskState{TaskUUID: t.ID, TaskName: t.Name, State: state, Error: t.Error, CreatedAt: t.Created}
	if t.State == StateSuccess {
		s.Results = []*tasks.TaskResult{{Type: "string", Value: string(t.Result)}}
	}
	return s
}
