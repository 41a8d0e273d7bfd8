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

var (
	// ErrUnknownTask: no task of that name is registered.
	ErrUnknownTask = errors.New("unknown task")
	// ErrArgs: the arguments are not what the task takes; the error says which.
	ErrArgs = errors.New("wrong arguments")
	// ErrOption: an id, queue, time, number, key or rate is invalid; the error
	// says which one and what is allowed.
	ErrOption = errors.New("invalid option")
)

// Handler does a task's work. A returned error is a failed attempt, a panic
// too. ctx ends when the task runs out of time, its lease is lost, or the
// worker stops; a handler that returns an error after that has not failed, its
// task goes to the next worker.
type Handler func(ctx context.Context, job *Job) error

// ArgType is the JSON type of an argument.
type ArgType string

// The types an argument may have.
const (
	ArgString  ArgType = "string"
	ArgInteger ArgType = "integer"
	ArgNumber  ArgType = "number"
	ArgBoolean ArgType = "boolean"
)

// Arg is one argument of a task, by position.
type Arg struct {
	Name string
	Type ArgType
	// Default stands for an argument that is left out; nil: it must be given.
	// Arguments with a default come last.
	Default any
	// Check refuses a value, which is of the type, that the task cannot take all
	// the same. Nil: it takes all. The results of other tasks are not checked.
	Check func(value json.RawMessage) error
}

// Definition is a task that workers can run and clients can ask for.
type Definition struct {
	Name    string
	Handler Handler
	Args    []Arg
	// Check refuses arguments of the right types, a JSON array, that the task
	// cannot take all the same. Nil: it takes all.
	Check func(args json.RawMessage) error
	// Timeout, MaxRetries and Queue hold for tasks that leave them open. Zero is
	// no limit, no retry and DefaultQueue. A worker must take from that queue.
	Timeout    time.Duration
	MaxRetries int
	Queue      string
	// Rate limits how many attempts begin, over all workers of the store.
	Rate Rate

	input   *input // of a typed task, see Define
	invalid error  // why it cannot be one
}

// Registry holds the tasks of a program by name. It does not change once made.
type Registry struct {
	byName map[string]Definition
}

// NewRegistry makes a registry. A task without name or handler, with a name
// that is taken or no valid id, is an error.
func NewRegistry(tasks ...Definition) (*Registry, error) {
	r := &Registry{byName: make(map[string]Definition, len(tasks))}
	for _, d := range tasks {
		if _, taken := r.byName[d.Name]; taken || !ValidID(d.Name) || d.Handler == nil {
			return nil, fmt.Errorf("register task %q: needs a handler and a name of its own", d.Name)
		}
		if d.invalid != nil {
			return nil, fmt.Errorf("register task %q: %w", d.Name, d.invalid)
		}
		r.byName[d.Name] = d
	}
	return r, nil
}

// Lookup returns the task of that name, or an error wrapping ErrUnknownTask.
func (r *Registry) Lookup(name string) (Definition, error) {
	d, ok := r.byName[name]
	if !ok {
		return Definition{}, fmt.Errorf("%w %q; there are: %s", ErrUnknownTask, name, strings.Join(r.Names(), ", "))
	}
	return d, nil
}

// Names returns the registered names, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.byName)) }

// Rates are those of the tasks that are limited.
func (r *Registry) Rates() map[string]Rate {
	rates := map[string]Rate{}
	for name, d := range r.byName {
		if d.Rate.Interval() > 0 {
			rates[name] = d.Rate
		}
	}
	return rates
}
