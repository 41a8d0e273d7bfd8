package jobs

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
)

// State is where a task stands. The picture is in the package comment.
type State string

// The states of a task.
const (
	StateScheduled State = "scheduled" // accepted, its eta is in the future
	StateQueued    State = "queued"    // accepted, waiting for a worker
	StateRunning   State = "running"   // leased by a worker
	StateRetrying  State = "retrying"  // failed, waiting for its next attempt
	StateSuccess   State = "success"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateDead      State = "dead" // killed its worker too often, or unreadable
)

var states = []State{StateScheduled, StateQueued, StateRunning, StateRetrying, StateSuccess, StateFailed, StateCancelled, StateDead}

// StateNames lists all states, separated by a comma and a space.
func StateNames() string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return slices.Contains(states, s) }

// Final reports whether nothing will happen to the task any more.
func (s State) Final() bool {
	switch s {
	case StateSuccess, StateFailed, StateCancelled, StateDead:
		return true
	}
	return false
}

// Task is the task object that clients see, and what the store knows besides.
type Task struct {
	ID        string          `json:"id"`
	Name      string          `json:"task"`
	Queue     string          `json:"queue"`
	Args      json.RawMessage `json:"args"` // a JSON array, by position
	State     State           `json:"state"`
	Progress  int             `json:"progress"` // 0 to 100
	Note      string          `json:"note"`     // what the handler said last
	Attempts  int             `json:"attempts"` // how often a worker began it
	Worker    string          `json:"worker"`   // owner of the last lease
	Created   time.Time       `json:"created"`
	Started   *time.Time      `json:"started"`  // begin of the last attempt
	Finished  *time.Time      `json:"finished"` // when the state became final
	Result    json.RawMessage `json:"result"`
	Error     string          `json:"error"`
	Failures  []Failure       `json:"failures"`
	Artifacts []string        `json:"artifacts"`

	// Version grows with every change of the task; Watch waits for it.
	Version int64 `json:"-"`
	// RunAt is when the task is due: its eta, or its next attempt.
	RunAt time.Time `json:"-"`
	// Timeout ends one attempt; zero is none.
	Timeout time.Duration `json:"-"`
	// MaxRetries is how many failures are followed by another attempt.
	MaxRetries int `json:"-"`
	// Signature is machinery's own message for a task that carries more than
	// its arguments (callbacks); nil for all others.
	Signature []byte `json:"-"`
	// Group is the id of the group that the task is a member of, or empty.
	Group string `json:"-"`
	// Workflow is the id of the workflow that the task is part of, or empty. A
	// member of a group has a Group instead, see Part.
	Workflow string `json:"-"`
	// Followers are the ids that are reserved for the tasks that may follow.
	Followers []string `json:"-"`
	// Digest is that of the workflow that the task begins, or empty.
	Digest string `json:"-"`
	// Aborted: the workflow that the task is part of was cancelled.
	Aborted bool `json:"-"`
}

// Part returns the id of the workflow that the task is part of, or "".
func (t *Task) Part() string { return cmp.Or(t.Workflow, t.Group) }

// Repair replaces by U+FFFD what is not valid UTF-8 in a task that an older version
// of the program has stored, or that was cut within a character. Every Store does
// so with each task it reads. Failures come out of their JSON valid.
func (t *Task) Repair() {
	t.Args, t.Result = utf8text.RepairJSON(t.Args), utf8text.RepairJSON(t.Result)
	t.Note, t.Error = utf8text.Repair(t.Note), utf8text.Repair(t.Error)
}

// Failure is one attempt that ended with an error.
type Failure struct {
	Time    time.Time `json:"time"`
	Attempt int       `json:"attempt"`
	Error   string    `json:"error"`
}

// NewTask is a task to be accepted. Name and ID must be set; Client.Enqueue
// does that, with everything else that a caller may leave out.
type NewTask struct {
	ID    string
	Name  string
	Queue string          // default DefaultQueue
	Args  json.RawMessage // a JSON array; nil is []
	// Kwargs are arguments by name, a JSON object. A Client puts them where Args
	// has them; a Store takes none.
	Kwargs     json.RawMessage `json:",omitempty"`
	RunAt      time.Time       // zero is now
	Timeout    time.Duration   // one attempt's limit; 0 is the definition's, see NoTimeout
	MaxRetries int             // failures that are followed by another attempt; 0 is the definition's, see NoRetries
	Signature  []byte          // see Task.Signature
	// Expires ends the task as Cancelled, with ExpiredReason, if no attempt has
	// begun by then. Zero is never.
	Expires time.Time
	// Unique makes this task the only one of its name with that key which is
	// accepted within UniqueFor: the first is what all others get. Both or
	// neither; not for members of groups and callbacks.
	Unique    string
	UniqueFor time.Duration
	// Followers are the ids of the tasks that Signature carries. They are
	// reserved when the task is accepted: until one of them is accepted as a Next
	// of the task before it, nobody else can take its id.
	Followers []string
	// Digest, if there is one, tells the workflow that this task begins from
	// others: a second one with the same ID must have the same Digest.
	Digest string
}

// NoRetries and NoTimeout are how a NewTask asks for none, whatever the task's
// definition says: zero leaves the choice to the definition. No other negative
// value is accepted.
const (
	NoRetries int           = math.MinInt32
	NoTimeout time.Duration = math.MinInt64
)

// DefaultQueue is where a task waits that names no queue.
const DefaultQueue = "default"

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// ValidID reports whether id may name a task: 1 to 128 letters, digits, dots,
// underscores and hyphens, but not "types" (GET /tasks/types is taken) and not
// "." or ".." (ids are folder names).
func ValidID(id string) bool {
	return idPattern.MatchString(id) && id != "types" && id != "." && id != ".."
}

// invalidID is the error of an id that ValidID refuses. kind says what has the id.
func invalidID(kind, id string) error {
	return fmt.Errorf("%w: %s id %q: use 1 to 128 letters, digits, dots, underscores and hyphens, but not \"types\", \".\" or \"..\"", ErrOption, kind, utf8text.Cut(id, 200))
}

// NewID draws an id that no other task has: 130 random bits.
func NewID() string { return strings.ToLower(rand.Text()) }
