package pool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// PanicError is a panic inside foreign work, kept with the stack of the place
// where it happened.
type PanicError struct {
	Value any
	Stack []byte
}

// Error says what was panicked with; the stack is for the log.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

type task struct {
	ctx  context.Context //nolint:containedctx // a task waits with its caller's
	fn   func(context.Context) error
	done chan error // capacity 1: the worker never waits for the caller
}

// Do runs fn on a worker and returns its error; a panic comes back as a
// *PanicError. If no worker is free fn waits in the queue; if that is full Do
// returns ErrFull at once, and ErrClosed if the pool drains.
//
// When ctx ends while fn waits, its place in the queue is free at once, fn is
// never called, and Do returns context.Cause(ctx). When ctx ends while fn runs,
// Do waits for fn: it was handed ctx, and what it uses must not be touched by
// two (fasthttp reuses a request as soon as its handler returns).
func (p *Pool) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	t := &task{ctx: ctx, fn: fn, done: make(chan error, 1)}
	p.mu.Lock()
	if !p.open {
		p.mu.Unlock()
		return ErrClosed
	}
	// A task that an idle worker will take counts as waiting only until that
	// worker wakes, so the room is what workers and queue hold together.
	if p.running+p.waiting.Len() >= p.stats.Workers+p.stats.Queue {
		p.stats.Refused++
		p.mu.Unlock()
		return ErrFull
	}
	place := p.waiting.PushBack(t)
	p.mu.Unlock()
	p.work.Signal()

	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
	}
	p.mu.Lock()
	abandoned := place.Value != nil
	if abandoned {
		place.Value = nil
		p.waiting.Remove(place)
		p.stats.Abandoned++
	}
	p.mu.Unlock()
	if abandoned {
		return context.Cause(ctx)
	}
	return <-t.done
}

// worker takes tasks in order until the pool is closed and none waits.
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
		place := p.waiting.Front()
		t := p.waiting.Remove(place).(*task)
		place.Value = nil // tells Do that it is too late to leave the queue
		p.running++
		p.mu.Unlock()

		err := Protect(func() error { return t.fn(t.ctx) })

		p.mu.Lock()
		p.running--
		p.stats.Done++
		if _, ok := errors.AsType[*PanicError](err); ok {
			p.stats.Panicked++
		}
		t.done <- err
	}
}

// Protect calls fn and turns a panic into a *PanicError. It stands wherever
// foreign work enters: a pool's function, an HTTP handler, a job.
func Protect(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}
