// Package pool runs blocking work on a bounded number of goroutines.
//
// Tornado hands a blocking function to a ThreadPoolExecutor so that the event
// loop goes on; a Go server needs no such thing to go on, but it needs the
// bound: a thousand requests that all block on one slow disk must become a
// short queue and a quick "busy", not a thousand stacks. A Pool is that bound:
// so many workers, so many waiting, and everything beyond is told at once.
//
//	Do ──► waiting (Options.Queue) ──► running (Options.Workers) ──► result
//	 │          │ ctx ends: leaves the queue
//	 └ ErrFull  └ never started
package pool

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

var (
	// ErrFull is what Do returns, at once, when every worker is busy and the
	// queue has no room.
	ErrFull = errors.New("pool is full")
	// ErrClosed is what Do returns once the pool drains.
	ErrClosed = errors.New("pool is closed")
)

// Defaults of Options, Tornado's own ThreadPoolExecutor(20) among them.
const (
	DefaultWorkers = 20
	DefaultQueue   = 200
)

// Options configure a Pool. The zero value is the documented default.
type Options struct {
	// Workers is how many functions run at once. Default 20.
	Workers int
	// Queue is how many may wait for a worker. Default 200; negative means
	// that none may: work starts at once or is refused.
	Queue int
}

// Stats is a snapshot of a Pool.
type Stats struct {
	Workers, Running, Queue, Waiting int
	// Done, Panicked, Refused and Abandoned count since the pool was made:
	// functions that returned, those of them that panicked, calls of Do
	// refused with ErrFull, and those whose context ended while they waited.
	Done, Panicked, Refused, Abandoned uint64
}

// Pool is a bounded set of workers with a bounded queue. Make one with New,
// start it with Run, use it with Do from any number of goroutines.
type Pool struct {
	mu      sync.Mutex
	work    sync.Cond // a task is waiting, or the pool is closing
	waiting list.List // of *task, first in first out
	running int
	open    bool
	stats   Stats
}

// New makes a pool. What Do is given before Run waits in the queue.
func New(o Options) *Pool {
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	switch {
	case o.Queue == 0:
		o.Queue = DefaultQueue
	case o.Queue < 0:
		o.Queue = 0
	}
	p := &Pool{open: true}
	p.work.L = &p.mu
	p.stats.Workers, p.stats.Queue = o.Workers, o.Queue
	return p
}

// Stats returns the pool's figures as they are now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Running, s.Waiting = p.running, p.waiting.Len()
	return s
}

// Run starts the workers and blocks until ctx ends and the pool has drained:
// from then on Do refuses new work, and what was waiting or running is
// finished. It returns nil. Call it once.
func (p *Pool) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range p.stats.Workers {
		workers.Go(p.worker) // ends when the pool is closed and its queue empty
	}
	<-ctx.Done()
	p.mu.Lock()
	p.open = false
	p.mu.Unlock()
	p.work.Broadcast()
	workers.Wait()
	return nil
}
