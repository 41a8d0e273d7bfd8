// Package pool runs blocking functions on a bounded number of goroutines.
//
// Tornado passes a blocking function to a ThreadPoolExecutor, so that its event loop
// is not blocked. A Go server has no event loop, but it needs the limit: if thousands of
// requests need one slow disk, most of them should get an error immediately, instead of
// waiting in goroutines whose number has no limit. A Pool has a fixed number of workers and a queue of
// bounded length. When both are full, Do returns ErrFull.
//
//	Do ──► queue (Options.Queue) ──► worker (Options.Workers) ──► result
//	 │          │
//	 │          └─ctx ends─► removed from the queue, never called
//	 └─queue full─► ErrFull
package pool

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

var (
	// ErrFull is returned by Do if all workers are busy and the queue is full.
	ErrFull = errors.New("pool is full")
	// ErrClosed is returned by Do when the context of Run has ended.
	ErrClosed = errors.New("pool is closed")
)

// Default values of Options. Tornado's documentation recommends a
// ThreadPoolExecutor(20).
const (
	DefaultWorkers = 20
	DefaultQueue   = 200
)

// Options configure a Pool. The zero value of a field means the documented default.
type Options struct {
	// Workers is the maximum number of functions that run at the same time.
	// Default 20.
	Workers int
	// Queue is the maximum number of functions that wait for a worker. Default 200.
	// If it is negative there is no queue: Do returns ErrFull if all workers are busy.
	Queue int
}

// Stats are the statistics of a Pool.
type Stats struct {
	// Workers and Queue are the limits of Options. Running and Waiting are the numbers
	// of functions that run and wait now.
	Workers, Running, Queue, Waiting int
	// Done is the number of functions that have returned or panicked, Panicked the number
	// of those that have panicked. Refused is the number of calls of Do that returned
	// ErrFull, Abandoned the number of those whose context ended while the function
	// waited. All start at 0 in New.
	Done, Panicked, Refused, Abandoned uint64
}

// Pool is a bounded set of workers with a bounded queue. Make one with New, start it
// with Run, and call Do from any number of goroutines.
type Pool struct {
	mu      sync.Mutex
	work    sync.Cond // signalled when a call waits or the pool is closed
	waiting list.List // of *call, first in first out
	running int       // number of functions that run
	open    bool      // Do accepts calls
	stats   Stats     // without Running and Waiting
}

// New makes a pool. Functions passed to Do before Run wait in the queue.
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

// Stats returns the present statistics.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Running, s.Waiting = p.running, p.waiting.Len()
	return s
}

// Run starts the workers. When ctx ends it drains the pool: Do returns ErrClosed, and
// the functions that wait or run are finished. Then Run returns nil. Call it once.
func (p *Pool) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range p.stats.Workers {
		workers.Go(p.worker) // ends when the pool is closed and its queue is empty
	}
	<-ctx.Done()
	p.mu.Lock()
	p.open = false
	p.mu.Unlock()
	p.work.Broadcast()
	workers.Wait()
	return nil
}
