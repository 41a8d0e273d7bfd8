package pool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// PanicError is a panic of a function called by Protect or by a Pool.
type PanicError struct {
	Value any    // argument of panic
	Stack []byte // stack trace of the panic, as from debug.Stack
}

// Error returns a text with the value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// call is one call of Do.
type call struct {
	ctx  context.Context //nolint:containedctx // the context of the caller, for fn
	fn   func(context.Context) error
	done chan error // capacity 1: the worker does not wait for the caller
}

// Do calls fn on a worker and returns its error. If fn panics, Do returns a
// *PanicError. If no worker is free, fn waits in the queue. If the queue is full, Do
// returns ErrFull immediately. If the pool drains, Do returns ErrClosed.
//
// If ctx ends while fn waits, Do removes fn from the queue without calling it, and
// returns context.Cause(ctx). If ctx ends while fn runs, Do still waits until fn
// returns, because fn may use data that the caller reuses after Do (fasthttp reuses a
// request as soon as its handler returns). fn gets ctx and should return soon.
func (p *Pool) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	c := &call{ctx: ctx, fn: fn, done: make(chan error, 1)}
	p.mu.Lock()
	if !p.open {
		p.mu.Unlock()
		return ErrClosed
	}
	// An idle worker takes a call from the list only when it wakes up. Therefore the
	// limit covers the workers and the queue together.
	if p.running+p.waiting.Len() >= p.stats.Workers+p.stats.Queue {
		p.stats.Refused++
		p.mu.Unlock()
		return ErrFull
	}
	element := p.waiting.PushBack(c)
	p.mu.Unlock()
	p.work.Signal()

	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	}
	p.mu.Lock()
	abandoned := element.Value != nil // no worker has taken it
	if abandoned {
		element.Value = nil
		p.waiting.Remove(element)
		p.stats.Abandoned++
	}
	p.mu.Unlock()
	if abandoned {
		return context.Cause(ctx)
	}
	return <-c.done
}

// worker runs calls in order until the pool is closed and its queue is empty.
func (p *Pool) worker() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for p.waiting.Len() == 0 {
			if !p.open {
				return
			}
			p.work.Wait()
		}
		element := p.waiting.Front()
		c := p.waiting.Remove(element).(*call)
		element.Value = nil // Do must not remove it any more
		p.running++
		p.mu.Unlock()

		err := Protect(func() error { return c.fn(c.ctx) })

		p.mu.Lock()
		p.running--
		p.stats.Done++
		if _, ok := errors.AsType[*PanicError](err); ok {
			p.stats.Panicked++
		}
		c.done <- err
	}
}

// Protect calls fn and returns its error. If fn panics, Protect returns a *PanicError.
// Use it to call code of the application, such as an HTTP handler or a task.
func Protect(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}
