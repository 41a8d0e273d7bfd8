package jobs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// message is the form in which a task stores the tasks that follow it. It has the
// fields of machinery's tasks.Signature, in the same order. Stores keep it as JSON, so
// it must not change.
type message struct {
	UUID                        string
	Name                        string
	RoutingKey                  string
	ETA                         *time.Time
	GroupUUID                   string
	GroupTaskCount              int
	Args                        []messageArg
	Headers                     map[string]any
	Priority                    uint8
	Immutable                   bool
	RetryCount                  int
	RetryTimeout                int
	OnSuccess                   []*message
	OnError                     []*message
	ChordCallback               *message
	BrokerMessageGroupId        string
	SQSReceiptHandle            string
	StopTaskDeletionOnError     bool
	IgnoreWhenTaskNotRegistered bool
}

// messageArg is machinery's tasks.Arg.
type messageArg struct {
	Name  string
	Type  string
	Value json.RawMessage
}

// FromMessage makes a NewTask from a tasks.Signature of machinery, encoded as JSON. The
// names of arguments are ignored. The callbacks in OnSuccess and OnError become
// followers; those without an id get a random one. The error wraps
// errors.ErrUnsupported for a member of a group: enqueue the whole group with
// Client.EnqueueGroup. Other errors wrap ErrOption or are those of encoding/json.
func FromMessage(data []byte) (NewTask, error) {
	m := &message{}
	if err := decodeMessage(data, m); err != nil {
		return NewTask{}, err
	}
	return m.task()
}

func decodeMessage(data []byte, m *message) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // float64 would round 64-bit integers
	if err := dec.Decode(m); err != nil {
		return fmt.Errorf("decode signature: %w", err)
	}
	return nil
}

func (m *message) task() (NewTask, error) {
	if m.ChordCallback != nil || m.GroupUUID != "" {
		return NewTask{}, fmt.Errorf("enqueue %s: the task is a member of a group; enqueue the whole group: %w", m.Name, errors.ErrUnsupported)
	}
	values := make([]json.RawMessage, len(m.Args))
	for i, arg := range m.Args {
		values[i] = arg.Value
	}
	args, err := json.Marshal(values)
	if err != nil {
		return NewTask{}, fmt.Errorf("enqueue %s: encode arguments: %w", m.Name, err)
	}
	n := NewTask{ID: m.UUID, Name: m.Name, Queue: m.RoutingKey, Args: args, MaxRetries: m.RetryCount, Timeout: m.timeout()}
	if m.ETA != nil {
		n.RunAt = *m.ETA
	}
	if len(m.OnSuccess)+len(m.OnError) > 0 {
		if n.Followers, err = followerIDs(m); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: %w", m.Name, err)
		}
		if n.Signature, err = json.Marshal(m); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: encode signature: %w", m.Name, err)
		}
	}
	return n, nil
}

// messageOf decodes the Signature of a task.
func messageOf(t *Task) (*message, error) {
	m := &message{}
	if len(t.Signature) > 0 {
		if err := decodeMessage(t.Signature, m); err != nil {
			return nil, err
		}
	}
	m.UUID, m.Name = t.ID, t.Name
	return m, nil
}

// timeoutHeader is the header that holds the Timeout of a task, because a signature of
// machinery has no field for it. 0s is no limit; without the header the definition's
// Timeout applies.
const timeoutHeader = "gale-timeout"

// timeout returns the NewTask.Timeout in the headers of a message.
func (m *message) timeout() time.Duration {
	text, _ := m.Headers[timeoutHeader].(string)
	d, err := time.ParseDuration(text)
	switch {
	case err != nil || d < 0:
		return 0
	case d == 0:
		return NoTimeout
	}
	return d
}

// Next returns a function that computes which tasks follow t. The function takes the
// outcome of t (state, result and error text) and returns the tasks to enqueue in the step
// in which t ends. Call it once. On success these are the OnSuccess tasks of Signature,
// with the result appended to their arguments unless the signature is immutable. Otherwise
// they are its OnError tasks, with the error text inserted before their arguments.
//
// Options that a signature leaves out come from the Definition. A task whose Definition is
// not in r stays in its queue until a worker with the Definition starts. Next returns an
// error if Signature cannot be decoded.
func (r *Registry) Next(t *Task) (func(State, json.RawMessage, string) []NewTask, error) {
	m, err := messageOf(t)
	if err != nil {
		return nil, err
	}
	onSuccess, err := r.followerTasks(m.OnSuccess)
	if err != nil {
		return nil, err
	}
	onError, err := r.followerTasks(m.OnError)
	if err != nil {
		return nil, err
	}
	return func(end State, result json.RawMessage, reason string) []NewTask {
		if end != StateSuccess {
			for i, n := range onError {
				onError[i].Args = prependReason(n.Args, reason)
			}
			return onError
		}
		for i, n := range onSuccess {
			if !m.Immutable {
				onSuccess[i].Args, _ = n.JoinResults([]json.RawMessage{result}) // cannot fail: followerTasks made an array
			}
		}
		return onSuccess
	}, nil
}

// prependReason inserts the error text before the arguments, a JSON array.
func prependReason(args json.RawMessage, reason string) json.RawMessage {
	var given []json.RawMessage
	_ = json.Unmarshal(args, &given)
	text, _ := json.Marshal(reason) // cannot fail for a string
	all, _ := json.Marshal(append([]json.RawMessage{text}, given...))
	return all
}

// followerTasks makes the tasks of nested messages.
func (r *Registry) followerTasks(all []*message) ([]NewTask, error) {
	tasks := make([]NewTask, len(all))
	for i, m := range all {
		if m == nil {
			return nil, fmt.Errorf("decode signature: %w: a task in it is null", ErrOption)
		}
		m.UUID = cmp.Or(m.UUID, NewID())
		n, err := m.task()
		if err != nil {
			return nil, err
		}
		d, _ := r.Lookup(n.Name) // unknown: the zero Definition
		d.complete(&n)
		tasks[i] = n
	}
	return tasks, nil
}
