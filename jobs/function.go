package jobs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// errFunction is the prefix of all errors of Function.
var errFunction = errors.New("not a task function")

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// Function makes a Definition from a function of the form that machinery's
// Server.RegisterTask takes. The first parameter may be a context.Context; all others
// are strings, integers, floating-point numbers or booleans. The last result is an
// error. The results before it are the result of the task; several become an array.
// An error with a method RetryIn() time.Duration, such as machinery's
// tasks.ErrRetryTaskLater, sets the delay before the next attempt.
//
// The caller sets the other fields of the Definition. The error says why fn cannot be a
// task.
func Function(name string, fn any) (Definition, error) {
	if fn == nil {
		return Definition{}, fmt.Errorf("%w: %s is nil", errFunction, name)
	}
	f := reflect.ValueOf(fn)
	t := f.Type()
	if t.Kind() != reflect.Func || t.NumOut() == 0 || !t.Out(t.NumOut()-1).Implements(errorType) {
		return Definition{}, fmt.Errorf("%w: %s must be a function whose last result is an error", errFunction, name)
	}
	if f.IsNil() || t.IsVariadic() || t.Out(t.NumOut()-1) != errorType {
		return Definition{}, fmt.Errorf("%w: %s must not be nil or variadic, and its last result must have the type error", errFunction, name)
	}
	first := 0
	if t.NumIn() > 0 && t.In(0) == contextType {
		first = 1
	}
	d := Definition{Name: name}
	for i := first; i < t.NumIn(); i++ {
		kind, ok := argTypeOf(t.In(i).Kind())
		if !ok {
			return Definition{}, fmt.Errorf("%w: %s: parameter %d has the type %v; use a string, number or boolean", errFunction, name, i+1, t.In(i))
		}
		d.Args = append(d.Args, Arg{Name: fmt.Sprint("arg", i-first), Type: kind})
	}
	d.Handler = func(ctx context.Context, job *Job) error {
		in := make([]reflect.Value, t.NumIn())
		targets := make([]any, t.NumIn()-first)
		if first == 1 {
			in[0] = reflect.ValueOf(ctx)
		}
		for i := range targets {
			target := reflect.New(t.In(first + i))
			in[first+i], targets[i] = target.Elem(), target.Interface()
		}
		if err := job.Args(targets...); err != nil {
			return err
		}
		return storeResults(job, f.Call(in))
	}
	return d, nil
}

// argTypeOf returns the JSON type of a Go kind, and false if there is none.
func argTypeOf(k reflect.Kind) (ArgType, bool) {
	switch {
	case k == reflect.String:
		return ArgString, true
	case k == reflect.Bool:
		return ArgBoolean, true
	case k >= reflect.Int && k <= reflect.Uint64:
		return ArgInteger, true
	case k == reflect.Float32 || k == reflect.Float64:
		return ArgNumber, true
	}
	return "", false
}

// retriable is an error that sets the delay before the next attempt, such as
// machinery's tasks.ErrRetryTaskLater.
type retriable interface {
	error
	RetryIn() time.Duration
}

// storeResults sets the result of the job from the results of a function, and returns
// its error.
func storeResults(job *Job, out []reflect.Value) error {
	last := len(out) - 1
	if err, failed := out[last].Interface().(error); failed {
		if again, ok := errors.AsType[retriable](err); ok {
			return RetryAfter(again.RetryIn(), err)
		}
		return err
	}
	switch last {
	case 0:
		return nil
	case 1:
		return job.Return(out[0].Interface())
	}
	all := make([]any, last)
	for i := range all {
		all[i] = out[i].Interface()
	}
	return job.Return(all)
}
