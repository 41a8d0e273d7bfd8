package jobs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// message is the form in which a task stores the tasks that follow it. It begins with the
// fields of machinery's tasks.Signature, in the same order. Stores keep it as JSON, and
// older versions read it, so these fields must not change. The fields after them are those
// that machinery does not have; see Newer.
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

	Kwargs  json.RawMessage `json:",omitempty"`
	Results Results         `json:",omitempty"` // of this task; empty: as Immutable of the task before it says
	// Members and Callback are those of a group that takes the place of a task.
	Members  []*message `json:",omitempty"`
	Callback *message   `json:",omitempty"`
	// Newer is the message itself if a message in it uses one of the fields above. Then
	// OnSuccess holds only a task that an older version refuses. A worker of that version
	// ends the task as dead, and a retry continues the workflow; without Newer it would
	// lose the arguments by name.
	Newer *message `json:",omitempty"`
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
	n := NewTask{ID: m.UUID, Name: m.Name, Queue: m.RoutingKey, Args: args, Kwargs: m.Kwargs, MaxRetries: m.RetryCount, Timeout: m.timeout()}
	if n.Headers, err = m.headers(); err != nil {
		return NewTask{}, fmt.Errorf("enqueue %s: encode headers: %w", m.Name, err)
	}
	if m.ETA != nil {
		n.RunAt = *m.ETA
	}
	if len(m.OnSuccess)+len(m.OnError) > 0 {
		if err = n.setMessage(m); err != nil {
			return NewTask{}, fmt.Errorf("enqueue %s: %w", m.Name, err)
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
	if m.Newer != nil {
		m = m.Newer
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

// headers returns NewTask.Headers, nil for none.
func (m *message) headers() (json.RawMessage, error) {
	own := maps.Clone(m.Headers)
	if delete(own, timeoutHeader); len(own) == 0 {
		return nil, nil
	}
	return json.Marshal(own)
}

// setHeaders sets Headers to those of a task and its time limit.
func (m *message) setHeaders(headers json.RawMessage, timeout time.Duration) error {
	if len(headers) > 0 {
		dec := json.NewDecoder(bytes.NewReader(headers))
		dec.UseNumber()
		if err := dec.Decode(&m.Headers); err != nil {
			return fmt.Errorf("%w: headers of %s must be a JSON object", ErrOption, m.Name)
		}
		delete(m.Headers, timeoutHeader)
	}
	if timeout == 0 {
		return nil
	}
	if m.Headers == nil {
		m.Headers = map[string]any{}
	}
	m.Headers[timeoutHeader] = max(timeout, 0).String()
	return nil
}

// mark returns next after it has set its Results where Immutable of m, which is for all
// followers of m, says something else. The first follower sets Immutable.
func (m *message) mark(next *message, immutable bool) *message {
	if immutable {
		next.Results = ""
	}
	switch {
	case len(m.OnSuccess) == 0:
		m.Immutable = immutable
	case immutable && !m.Immutable:
		next.Results = resultsNone
	case !immutable && m.Immutable:
		next.Results = cmp.Or(next.Results, ResultsAppend)
	}
	return next
}

// follow adds the next element of a chain before the other followers of m. The element after
// a group is its callback.
func (m *message) follow(next *message, immutable bool) error {
	switch {
	case m.Members == nil:
		m.OnSuccess = append([]*message{m.mark(next, immutable)}, m.OnSuccess...)
	case next.Members != nil || m.Callback != nil:
		return fmt.Errorf("%w: %w", ErrOption, errAfterGroup)
	default:
		if m.Callback = next; immutable {
			next.Results = resultsNone
		}
	}
	return nil
}

// nested returns the messages that m contains directly.
func (m *message) nested() []*message {
	all := slices.Concat(m.OnSuccess, m.OnError, m.Members)
	if m.Callback != nil {
		all = append(all, m.Callback)
	}
	return all
}

// checkSize returns an error if the arguments in m together are too long.
func (m *message) checkSize() error {
	if m.size() > MaxArgs {
		return fmt.Errorf("%w: the arguments of all tasks of the workflow together are longer than %d bytes", ErrArgs, MaxArgs)
	}
	return nil
}

func (m *message) size() (n int) {
	n = len(m.Kwargs)
	for _, a := range m.Args {
		n += len(a.Value) + 1
	}
	for _, each := range m.nested() {
		if each != nil {
			n += each.size()
		}
	}
	return n
}

// isNewer reports whether a message in m, or m itself if it is nested, uses fields that
// machinery does not have.
func (m *message) isNewer() bool {
	return slices.ContainsFunc(m.nested(), func(each *message) bool {
		return each != nil && (each.Kwargs != nil || each.Results != "" || each.Members != nil || each.isNewer())
	})
}

// setMessage sets Signature and Followers to those of m.
func (n *NewTask) setMessage(m *message) (err error) {
	if n.Followers, err = followerIDs(m); err != nil {
		return err
	}
	if m.isNewer() && len(n.Followers) > 0 {
		refused := &message{UUID: n.Followers[0], Name: "newer", GroupUUID: "newer"}
		m = &message{UUID: m.UUID, Name: m.Name, OnSuccess: []*message{refused}, Newer: m}
	}
	if n.Signature, err = json.Marshal(m); err != nil {
		return fmt.Errorf("encode signature: %w", err)
	}
	return nil
}
