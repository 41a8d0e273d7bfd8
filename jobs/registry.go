package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Errors of Client.Enqueue for an invalid task.
var (
	// ErrUnknownTask: the Registry has no definition with that name.
	ErrUnknownTask = errors.New("unknown task")
	// ErrArgs: the arguments do not match those of the definition; the error names
	// each wrong argument.
	ErrArgs = errors.New("wrong arguments")
	// ErrOption: an id, queue, time, number, key or rate is invalid; the error
	// says which one and what is allowed.
	ErrOption = errors.New("invalid option")
)

// Handler does the work of a task. A returned error or a panic is a failed attempt.
//
// ctx ends when the time limit of the attempt is over, the task is cancelled, its lease
// is lost, or the worker stops; context.Cause says which: ErrTimeout, ErrCancelled,
// ErrLeaseLost or ErrShutdown. If the lease was lost or the worker stops, an error that
// the handler returns is not counted as a failure, and another worker runs the task.
type Handler func(ctx context.Context, job *Job) error

// ArgType is the JSON type of an argument.
type ArgType string

// Types of arguments.
const (
	ArgString  ArgType = "string"
	ArgInteger ArgType = "integer"
	ArgNumber  ArgType = "number"
	ArgBoolean ArgType = "boolean"
)

// Arg describes one positional argument of a task.
type Arg struct {
	Name string
	Type ArgType
	// Default is the value of an argument that is left out. Nil makes the argument
	// required. Arguments with a default come after all others.
	Default any
	// Check returns an error for a value that has the right type but is not allowed. Nil
	// allows all values. It is not called for results of other tasks.
	Check func(value json.RawMessage) error
}

// Definition describes a task of the application: its name, arguments, options and
// handler.
type Definition struct {
	Name    string
	Handler Handler
	Args    []Arg
	// Check returns an error for arguments, a JSON array, that have the right types but
	// are not allowed together. Nil allows all. It is not called if results of other tasks
	// will be appended.
	Check func(args json.RawMessage) error
	// Timeout, MaxRetries and Queue are the defaults of the fields of NewTask. If they are
	// zero, the task has no time limit and no retries, and its queue is DefaultQueue. A
	// task waits until a worker serves its queue.
	Timeout    time.Duration
	MaxRetries int
	Queue      string
	// Keywords is true for a task whose worker takes arguments by name: NewTask.Kwargs are
	// stored as they are given, and Args and Check do not apply.
	Keywords bool
	// Rate limits how many attempts start, over all workers of the store.
	Rate Rate

	input   *input   // input type of a typed task, see Define; nil for all others
	foreign *foreign // arguments of a task of another program, see Foreign; nil for all others
	invalid error    // fault in the call of Define, reported by NewRegistry
}

// Registry holds the definitions of a program by name. It cannot be changed.
type Registry struct {
	byName map[string]Definition
}

// NewRegistry makes a registry. It returns an error if a definition has no handler, if its
// name is refused by ValidID or used twice, or if Define was called with invalid types or
// options.
func NewRegistry(tasks ...Definition) (*Registry, error) {
	r := &Registry{byName: make(map[string]Definition, len(tasks))}
	for _, d := range tasks {
		if _, taken := r.byName[d.Name]; taken || !ValidID(d.Name) || d.Handler == nil {
			return nil, fmt.Errorf("register task %q: it needs a handler and a unique name of letters, digits, dots, underscores and hyphens", d.Name)
		}
		if d.invalid != nil {
			return nil, fmt.Errorf("register task %q: %w", d.Name, d.invalid)
		}
		r.byName[d.Name] = d
	}
	return r, nil
}

// Lookup returns the definition with the name, or an error that wraps ErrUnknownTask.
func (r *Registry) Lookup(name string) (Definition, error) {
	d, ok := r.byName[name]
	if !ok {
		return Definition{}, fmt.Errorf("%w %q; known tasks: %s", ErrUnknownTask, name, strings.Join(r.Names(), ", "))
	}
	return d, nil
}

// Names returns the registered names, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.byName)) }

// Rates returns the rates by task name, without the tasks that have no limit.
func (r *Registry) Rates() map[string]Rate {
	rates := map[string]Rate{}
	for name, d := range r.byName {
		if d.Rate.Interval() > 0 {
			rates[name] = d.Rate
		}
	}
	return rates
}
