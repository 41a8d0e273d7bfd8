package jobs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// message is how a task carries those that follow it: machinery's
// tasks.Signature, field for field and in its order. Stores hold it as JSON, so
// its form never changes.
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

// FromMessage returns the task that a message is, a tasks.Signature of machinery
// as JSON. Arguments go by position; callbacks travel in the message itself, and
// get ids if they have none. Errors wrap errors.ErrUnsupported for members of
// groups, which are accepted together, and else are those of Client.Enqueue.
func FromMessage(data []byte) (NewTask, error) {
	m := &message{}
	if err := decodeMessage(data, m); err != nil {
		return NewTask{}, err
	}
	return m.task()
}

func decodeMessage(data []byte, m *message) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // else 64-bit integers lose digits
	if err := dec.Decode(m); err != nil {
		return fmt.Errorf("decode signature: %w", err)
	}
	return nil
}

func (m *message) task() (NewTask, error) {
	if m.ChordCallback != nil || m.GroupUUID != "" {
		return NewTask{}, fmt.Errorf("enqueue %s: members of groups are accepted together: %w", m.Name, errors.ErrUnsupported)
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
		if n.Followers, err = follow(m); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: %w", m.Name, err)
		}
		if n.Signature, err = json.Marshal(m); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: encode signature: %w", m.Name, err)
		}
	}
	return n, nil
}

// messageOf is the message of a task, which carries those that follow it.
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

// timeoutHeader is where a message carries what machinery has no field for. 0s
// is no limit; without it the definition's holds.
const timeoutHeader = "gale-timeout"

// timeout is the time limit that a message carries.
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

// Next returns which tasks are accepted with the end of t, as a function of how
// it ends: after Success those of its message get its result as their last
// argument, unless they take none, after any other end the error as their first.
// They have the options of their definitions where the message has none; one that
// r does not know waits for a worker that does. The error says why the message
// cannot be read.
func (r *Registry) Next(t *Task) (func(State, json.RawMessage, string) []NewTask, error) {
	m, err := messageOf(t)
	if err != nil {
		return nil, err
	}
	onSuccess, err := r.followers(m.OnSuccess)
	if err != nil {
		return nil, err
	}
	onError, err := r.followers(m.OnError)
	if err != nil {
		return nil, err
	}
	return func(end State, result json.RawMessage, reason string) []NewTask {
		if end != StateSuccess {
			for i, n := range onError {
				onError[i].Args = withReason(n.Args, reason)
			}
			return onError
		}
		for i, n := range onSuccess {
			if !m.Immutable {
				onSuccess[i].Args, _ = n.JoinResults([]json.RawMessage{result}) // behind an array, made by followers
			}
		}
		return onSuccess
	}, nil
}

// withReason puts the reason of a failure before the arguments, an array.
func withReason(args json.RawMessage, reason string) json.RawMessage {
	var given []json.RawMessage
	_ = json.Unmarshal(args, &given)
	text, _ := json.Marshal(reason) // a string always can be
	all, _ := json.Marshal(append([]json.RawMessage{text}, given...))
	return all
}

// followers are the tasks of messages.
func (r *Registry) followers(all []*message) ([]NewTask, error) {
	tasks := make([]NewTask, len(all))
	for i, m := range all {
		if m == nil {
			return nil, fmt.Errorf("decode signature: %w: a task is missing", ErrOption)
		}
		m.UUID = cmp.Or(m.UUID, NewID())
		n, err := m.task()
		if err != nil {
			return nil, err
		}
		d, _ := r.Lookup(n.Name) // the zero Definition if it is unknown
		d.complete(&n)
		tasks[i] = n
	}
	return tasks, nil
}
