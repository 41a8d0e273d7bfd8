package jobs

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/internal/utf8text"
)

// State is the state of a task. The package comment has a diagram.
type State string

// The states of a task.
const (
	StateScheduled State = "scheduled" // accepted, RunAt is in the future
	StateQueued    State = "queued"    // accepted, waiting for a worker
	StateRunning   State = "running"   // leased by a worker
	StateRetrying  State = "retrying"  // an attempt failed, waiting for the next one
	StateSuccess   State = "success"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateDead      State = "dead" // dead letter: its worker died too often, or its data is unreadable
)

var allStates = []State{StateScheduled, StateQueued, StateRunning, StateRetrying, StateSuccess, StateFailed, StateCancelled, StateDead}

// StateNames lists all states, separated by a comma and a space.
func StateNames() string {
	names := make([]string, len(allStates))
	for i, s := range allStates {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return slices.Contains(allStates, s) }

// Final reports whether the task has ended. Only Requeue leaves a final state.
func (s State) Final() bool {
	switch s {
	case StateSuccess, StateFailed, StateCancelled, StateDead:
		return true
	}
	return false
}

// Task is a task as a store returns it. Fields with a JSON name are those that HTTP
// clients get.
type Task struct {
	ID        string          `json:"id"`
	Name      string          `json:"task"`
	Queue     string          `json:"queue"`
	Args      json.RawMessage `json:"args"`   // a JSON array, by position
	Kwargs    json.RawMessage `json:"kwargs"` // a JSON object, by name; {} for a task that takes arguments by position
	State     State           `json:"state"`
	Progress  int             `json:"progress"` // percent, 0 to 100
	Note      string          `json:"note"`     // last note of Job.Progress
	Attempts  int             `json:"attempts"` // number of attempts that started
	Worker    string          `json:"worker"`   // LeaseRequest.Owner of the last lease
	Created   time.Time       `json:"created"`
	Started   *time.Time      `json:"started"`  // start of the last attempt
	Finished  *time.Time      `json:"finished"` // time at which the state became final
	Result    json.RawMessage `json:"result"`
	Error     string          `json:"error"`
	Failures  []Failure       `json:"failures"`
	Artifacts []string        `json:"artifacts"`
	// Trace is the trace id in the traceparent of Headers (W3C Trace Context), or empty.
	Trace string `json:"trace,omitempty"`

	// Version increases with every change of the task, see Reader.Watch.
	Version int64 `json:"-"`
	// RunAt is the time at which the task is due: its eta, or that of the next attempt.
	RunAt time.Time `json:"-"`
	// Timeout is the time limit of each attempt; zero is none.
	Timeout time.Duration `json:"-"`
	// Lost is the number of attempts whose leases were counted as lost, see driver.Leaser.
	Lost int `json:"-"`
	// MaxRetries is the largest number of retries, which are attempts after a failed one.
	MaxRetries int `json:"-"`
	// Headers are NewTask.Headers, or nil.
	Headers json.RawMessage `json:"headers,omitempty"`
	// Signature is the tasks.Signature of machinery, as JSON, for a task with
	// callbacks; nil for all others.
	Signature []byte `json:"-"`
	// Group is the id of the group of which the task is a member, or empty.
	Group string `json:"group,omitempty"`
	// Workflow is the id of the workflow to which the task belongs, or empty. A member
	// of a group has a Group instead, and both if the group is part of a chain;
	// WorkflowID returns the id of the whole workflow.
	Workflow string `json:"workflow,omitempty"`
	// Followers are the ids reserved for the tasks that may follow.
	Followers []string `json:"-"`
	// Digest is the digest of the workflow that starts with this task, or empty.
	Digest string `json:"-"`
	// Aborted is true if CancelWorkflow has cancelled the workflow of the task.
	Aborted bool `json:"-"`
	// Ended are the newest leases whose workers have ended their attempts, if these
	// workers are other programs; see driver.Remote.
	Ended []EndedLease `json:"-"`
}

// EndedLease is a lease whose worker has ended the attempt.
type EndedLease struct {
	Attempt int    `json:"attempt"`
	Owner   string `json:"owner"`
	State   State  `json:"state"` // state of the task after that
}

// WorkflowID returns the id of the workflow to which the task belongs, or "".
func (t *Task) WorkflowID() string { return cmp.Or(t.Workflow, t.Group) }

// Repair replaces invalid UTF-8 in the texts of the task by U+FFFD. Older versions have
// stored such texts. Every Store calls it for each task that it reads. Failures need no
// repair, because they are decoded from JSON, which repairs them. Repair also sets Kwargs to
// {} if the task has none, and Trace to the trace of Headers.
func (t *Task) Repair() {
	if len(t.Kwargs) == 0 {
		t.Kwargs = json.RawMessage("{}")
	}
	t.Args, t.Result = utf8text.RepairJSON(t.Args), utf8text.RepairJSON(t.Result)
	t.Note, t.Error = utf8text.Repair(t.Note), utf8text.Repair(t.Error)
	t.Trace = tracing.ParentIn(t.Headers).TraceID()
}

// Failure is an attempt that ended with an error.
type Failure struct {
	Time    time.Time `json:"time"`
	Attempt int       `json:"attempt"`
	Error   string    `json:"error"`
}

// NewTask is a task to enqueue with Client.Enqueue. All fields but Name may be left out.
// A program that calls a Store directly must also set ID, and must pass all arguments by
// position in Args.
type NewTask struct {
	ID    string
	Name  string
	Queue string          // default DefaultQueue
	Args  json.RawMessage // a JSON array; nil is []
	// Kwargs are arguments by name, a JSON object. A Client turns them into Args if
	// the task's Definition is known and has no Keywords; otherwise the task keeps them.
	Kwargs json.RawMessage `json:",omitempty"`
	// Headers is a JSON object of at most MaxHeaders bytes that the worker gets with the
	// task. Nil is none.
	Headers json.RawMessage `json:",omitempty"`
	// Link are tasks to enqueue in the step in which the task succeeds, and LinkError those to
	// enqueue in the step in which it ends as failed or dead. A Client turns both into
	// Signature; a Store refuses them. See Link.
	Link       []Link        `json:",omitempty"`
	LinkError  []Link        `json:",omitempty"`
	RunAt      time.Time     // earliest start; zero is now
	Timeout    time.Duration // time limit of each attempt; 0 is that of the definition, see NoTimeout
	MaxRetries int           // largest number of retries; 0 is that of the definition, see NoRetries
	Signature  []byte        // see Task.Signature
	// Expires is the time at which the task ends as StateCancelled, with the error
	// driver.ExpiredReason, unless an attempt has started. Zero is never.
	Expires time.Time
	// Unique is a key that prevents duplicates. For the time UniqueFor after a task was
	// accepted, no other task with the same Name and Unique is accepted; Enqueue returns
	// the first task instead. Set both fields or neither. Members of groups and callbacks
	// cannot be unique.
	Unique    string
	UniqueFor time.Duration
	// Followers are the ids of the tasks in Signature. They are reserved when the task
	// is accepted: no other task can use them. Client.Enqueue sets them.
	Followers []string
	// Digest identifies the content of the workflow that starts with this task. A workflow
	// with the same ID and another Digest is refused. Client.EnqueueChain sets it.
	Digest string
	// WaitForWorker accepts a name that no definition has. The task waits until a worker
	// announces it. Only a Client uses this field.
	WaitForWorker bool `json:"-"`
}

// NoRetries and NoTimeout mean no retries and no time limit in NewTask.MaxRetries and
// NewTask.Timeout. A zero there means the value of the definition. Other negative values
// are invalid.
const (
	NoRetries int           = math.MinInt32
	NoTimeout time.Duration = math.MinInt64
)

// DefaultQueue is the queue of tasks that have no other queue.
const DefaultQueue = "default"

// maxID is the largest length of an id in bytes.
const maxID = 128

// ValidID reports whether id may name a task: 1 to 128 letters, digits, dots,
// underscores and hyphens, but not "types" (GET /tasks/types lists the task types) and
// not "." or ".." (ids are folder names).
func ValidID(id string) bool {
	if id == "" || len(id) > maxID || id == "types" || id == "." || id == ".." {
		return false
	}
	for _, c := range []byte(id) {
		letterOrDigit := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letterOrDigit && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// idError is the error of an id that ValidID refuses. kind says what has the id.
func idError(kind, id string) error {
	return fmt.Errorf("%w: %s id %q: use 1 to 128 letters, digits, dots, underscores and hyphens, but not \"types\", \".\" or \"..\"", ErrOption, kind, utf8text.Cut(id, 200))
}

// NewID returns a random id of 130 bits.
func NewID() string { return strings.ToLower(rand.Text()) }
