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

// Typed is a task whose input and result have Go types. Make one with Define.
type Typed[In, Out any] struct {
	definition Definition
}

// Define makes a task from a function. Its input and result are encoded as JSON, by the
// rules of encoding/json, and the schema of the arguments comes from the type In.
//
// Arguments are stored as an array with one object, [{…}]. A client may also send keyword
// arguments, or values in the order of the fields; an embedded struct counts as its
// fields. A field is required unless it is a pointer, has omitempty or omitzero, or has a
// tag such as default:"5". If In is not a struct, the task takes one argument; if In is
// struct{}, it takes none. If Out is struct{}, the task has no result.
//
// The fields of a struct In must satisfy the rules in their validate tags, as in
// server.Bind. The rules are checked when a task is enqueued and before each attempt, and
// those that JSON Schema knows are in the schema.
//
// When a task is enqueued, unknown, duplicate and missing members are refused with an error
// that names them. A worker ignores unknown members, because another version
// of the program may have enqueued the task.
//
// The options Queue, Retries, Timeout and RateLimit are the defaults for all tasks of
// this name. NewRegistry reports an In, a validate tag or an option that cannot be used.
func Define[In, Out any](name string, do func(ctx context.Context, job *Job, in In) (Out, error), options ...Option) *Typed[In, Out] {
	d := Definition{Name: name}
	d.input, d.invalid = inputOf(reflect.TypeFor[In]())
	for _, o := range options {
		if o.define == nil {
			d.invalid = errors.Join(d.invalid, fmt.Errorf("%w: %s is an option of Enqueue, not of Define", ErrOption, o.name))
			continue
		}
		d.invalid = errors.Join(d.invalid, o.define(&d))
	}
	d.Handler = func(ctx context.Context, job *Job) error {
		var in In
		if len(job.args) > 0 {
			if err := json.Unmarshal(job.args[0], &in); err != nil {
				return fmt.Errorf("%w: %s %w", ErrArgs, name, typed.DecodeError(err))
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

// Definition returns the definition of the task, for NewRegistry.
func (t *Typed[In, Out]) Definition() Definition { return t.definition }

// Enqueue enqueues a task with the input in. Errors are those of Client.Enqueue. The option
// RateLimit is for Define only; Enqueue returns ErrOption for it.
func (t *Typed[In, Out]) Enqueue(ctx context.Context, c *Client, in In, options ...Option) (*Task, error) {
	n := NewTask{Name: t.definition.Name, Args: json.RawMessage("[]")}
	if t.definition.input == nil {
		return nil, fmt.Errorf("enqueue %s: %w", n.Name, t.definition.invalid)
	}
	if t.definition.input.single || len(t.definition.input.fields) > 0 {
		args, err := json.Marshal([]any{in})
		if err != nil {
			return nil, fmt.Errorf("enqueue %s: %w: %w", n.Name, ErrArgs, err)
		}
		n.Args = args
	}
	for _, o := range options {
		if o.task == nil {
			return nil, fmt.Errorf("enqueue %s: %w: %s is an option of Define, not of Enqueue", n.Name, ErrOption, o.name)
		}
		o.task(&n)
	}
	task, _, err := c.Enqueue(ctx, n)
	return task, err
}

// Option is an option of Define or Typed.Enqueue.
type Option struct {
	name   string
	task   func(*NewTask)
	define func(*Definition) error
}

// In delays the start of the task by d. Celery: countdown.
func In(d time.Duration) Option {
	return Option{name: "In", task: func(n *NewTask) { n.RunAt = time.Now().Add(d) }}
}

// At delays the start of the task until t. Celery: eta.
func At(t time.Time) Option { return Option{name: "At", task: func(n *NewTask) { n.RunAt = t }} }

// Expires cancels the task if no attempt has started by t, see NewTask.Expires.
func Expires(t time.Time) Option {
	return Option{name: "Expires", task: func(n *NewTask) { n.Expires = t }}
}

// ID sets the id of the task. If the store already has a task with the id, no second task
// is accepted, see Store.Enqueue.
func ID(id string) Option { return Option{name: "ID", task: func(n *NewTask) { n.ID = id }} }

// Unique prevents duplicates of the task: within the given time only one task of this
// name with the key is accepted, see NewTask.Unique.
func Unique(key string, within time.Duration) Option {
	return Option{name: "Unique", task: func(n *NewTask) { n.Unique, n.UniqueFor = key, within }}
}

// Queue sets the queue of the task. With Define, it sets the queue of all tasks of this name.
// Default: DefaultQueue.
func Queue(name string) Option {
	return Option{"Queue", func(n *NewTask) { n.Queue = name }, func(d *Definition) error {
		d.Queue = name
		return nil
	}}
}

// Retries sets the largest number of retries, which are attempts after a failed one; 0 is
// none. Default 0. Celery: max_retries.
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

// Timeout sets the time limit of each attempt; 0 is no limit. Default 0. Celery:
// soft_time_limit.
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
