package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/galeserver/gale/internal/typed"
)

// Typed is a task whose input and result have Go types.
type Typed[In, Out any] struct {
	definition Definition
}

// Define makes a task of a function. Its input and its result are JSON, by the
// rules of encoding/json; the schema of the arguments comes from In.
//
// Stored arguments are [{…}], one object. Also accepted are keywords, and values in
// the order of the fields, embedded structs in their place. A field is required
// unless it is a pointer, has omitempty or omitzero, or a tag such as default:"5".
// An In that is no struct is one argument, struct{} is none. What is unknown,
// doubled or missing is refused with its name when a task is accepted; a worker
// passes over members that it does not know, which another version of the program
// may have accepted. An Out of struct{} is no result.
//
// Queue, Retries, Timeout and RateLimit hold for all tasks that do not ask for
// another value. An In or an option that cannot be used is an error of NewRegistry.
func Define[In, Out any](name string, do func(ctx context.Context, job *Job, in In) (Out, error), options ...Option) *Typed[In, Out] {
	d := Definition{Name: name}
	d.input, d.invalid = inputOf(reflect.TypeFor[In]())
	for _, o := range options {
		if o.define == nil {
			d.invalid = errors.Join(d.invalid, fmt.Errorf("%w: %s is not for Define", ErrOption, o.name))
			continue
		}
		d.invalid = errors.Join(d.invalid, o.define(&d))
	}
	d.Handler = func(ctx context.Context, job *Job) error {
		var in In
		if len(job.args) > 0 {
			if err := json.Unmarshal(job.args[0], &in); err != nil {
				return fmt.Errorf("%w: %s %w", ErrArgs, name, typed.Misfit(err))
			}
		}
		out, err := do(ctx, job, in)
		if err != nil || reflect.TypeFor[Out]() == reflect.TypeFor[struct{}]() {
			return err
		}
		return job.Return(out)
	}
	return &Typed[In, Out]{d}
}

// Definition is the task for a Registry.
func (t *Typed[In, Out]) Definition() Definition { return t.definition }

// Enqueue has the client accept a task with that input. Errors are those of
// Client.Enqueue; one that wraps ErrOption is also that of an option that is not for
// a single task.
func (t *Typed[In, Out]) Enqueue(ctx context.Context, c *Client, in In, options ...Option) (*Task, error) {
	n := NewTask{Name: t.definition.Name, Args: json.RawMessage("[]")}
	if t.definition.input == nil {
		return nil, fmt.Errorf("enqueue %s: %w", n.Name, t.definition.invalid)
	}
	if t.definition.input.one || len(t.definition.input.fields) > 0 {
		args, err := json.Marshal([]any{in})
		if err != nil {
			return nil, fmt.Errorf("enqueue %s: %w: %w", n.Name, ErrArgs, err)
		}
		n.Args = args
	}
	for _, o := range options {
		if o.task == nil {
			return nil, fmt.Errorf("enqueue %s: %w: %s is for Define only", n.Name, ErrOption, o.name)
		}
		o.task(&n)
	}
	task, _, err := c.Enqueue(ctx, n)
	return task, err
}

// Option is an option of a typed task.
type Option struct {
	name   string
	task   func(*NewTask)
	define func(*Definition) error
}

// In has the task begin after d, not at once.
func In(d time.Duration) Option {
	return Option{name: "In", task: func(n *NewTask) { n.RunAt = time.Now().Add(d) }}
}

// At has the task begin at t, not at once.
func At(t time.Time) Option { return Option{name: "At", task: func(n *NewTask) { n.RunAt = t }} }

// Expires ends the task if no attempt has begun by t, see NewTask.Expires.
func Expires(t time.Time) Option {
	return Option{name: "Expires", task: func(n *NewTask) { n.Expires = t }}
}

// ID gives the task an id; the same id twice is one task.
func ID(id string) Option { return Option{name: "ID", task: func(n *NewTask) { n.ID = id }} }

// Unique makes the task the only one of its name with that key within a time, see
// NewTask.Unique.
func Unique(key string, within time.Duration) Option {
	return Option{name: "Unique", task: func(n *NewTask) { n.Unique, n.UniqueFor = key, within }}
}

// Queue is where the task waits, or with Define all of its name. Default:
// DefaultQueue.
func Queue(name string) Option {
	return Option{"Queue", func(n *NewTask) { n.Queue = name }, func(d *Definition) error {
		d.Queue = name
		return nil
	}}
}

// Retries is how many failures are followed by another attempt; 0 is none.
func Retries(count int) Option {
	return Option{"Retries", func(n *NewTask) {
		if n.MaxRetries = count; count == 0 {
			n.MaxRetries = NoRetries
		}
	}, func(d *Definition) error {
		d.MaxRetries = count
		return nil
	}}
}

// Timeout limits each attempt; 0 is no limit.
func Timeout(d time.Duration) Option {
	return Option{"Timeout", func(n *NewTask) {
		if n.Timeout = d; d == 0 {
			n.Timeout = NoTimeout
		}
	}, func(def *Definition) error {
		def.Timeout = d
		return nil
	}}
}

// RateLimit limits how many attempts start, over all workers of the store. rate is a
// text such as 10/s, 100/m or 5/h. It is for Define only.
func RateLimit(rate string) Option {
	return Option{name: "RateLimit", define: func(d *Definition) error {
		return d.Rate.UnmarshalText([]byte(rate))
	}}
}
