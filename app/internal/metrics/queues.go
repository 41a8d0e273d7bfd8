package metrics

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

const (
	// queuesFresh is how old an answer of the task store may be.
	queuesFresh = time.Second
	// queuesPatience is how long a scrape waits for it.
	queuesPatience = 700 * time.Millisecond
	// queuesTimeout is how long the store is given to answer.
	queuesTimeout = 5 * time.Second
	// readyFor is how long a store that does not answer counts as ready.
	readyFor = 15 * time.Second
)

// Store is what Queues asks, and closes.
type Store interface {
	driver.Gauger
	Close() error
}

// Queues asks the task store how much there is to do: when somebody wants to
// know, at most once a second, and never twice at once.
type Queues struct {
	open func(context.Context) (Store, error)
	asks chan struct{}

	mu      sync.Mutex
	depths  []driver.Depth
	at      time.Time     // of the answer
	err     error         // of the last question: why tasks cannot be taken
	changed chan struct{} // closed when the store has answered, or failed
}

// NewQueues makes Queues of a store that open opens, which is not done until
// somebody asks.
func NewQueues(open func(context.Context) (Store, error)) *Queues {
	return &Queues{open: open, asks: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Run asks the store whenever Latest wants to know, until ctx ends; then it
// closes it and returns how that went.
func (q *Queues) Run(ctx context.Context) error {
	var store Store
	var openErr error
	for {
		select {
		case <-ctx.Done():
			if store != nil {
				return store.Close()
			}
			return nil
		case <-q.asks:
		}
		if q.fresh() {
			continue // whoever asked has had the answer that another one asked for
		}
		if store == nil {
			store, openErr = q.open(ctx) // Latest and Trouble say that it failed
		}
		depths, err := depth(ctx, store)
		answered := err == nil
		if answered {
			err = ready(ctx, store)
		}
		q.mu.Lock()
		q.err = err
		if store == nil {
			q.err = cmp.Or(openErr, err)
		}
		if answered {
			q.depths, q.at = depths, time.Now()
		}
		close(q.changed)
		q.changed = make(chan struct{})
		q.mu.Unlock()
	}
}

// fresh reports whether the last answer may still be given.
func (q *Queues) fresh() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Since(q.at) < queuesFresh
}

func depth(ctx context.Context, store Store) ([]driver.Depth, error) {
	if store == nil {
		return nil, jobs.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, queuesTimeout)
	defer cancel()
	return store.Depth(ctx)
}

// ready asks a store that can tell whether tasks can be taken now.
func ready(ctx context.Context, store Store) error {
	r, ok := store.(interface {
		Ready(ctx context.Context) error
	})
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queuesTimeout)
	defer cancel()
	return r.Ready(ctx)
}

// errSilent is why tasks cannot be taken if the store says nothing.
var errSilent = errors.New("task store does not respond")

// Trouble returns why tasks cannot be taken, or nil. A store that is slow counts
// as ready for 15 seconds since it last was.
func (q *Queues) Trouble(ctx context.Context) error {
	q.Latest(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil && time.Since(q.at) > readyFor {
		return errSilent
	}
	return q.err
}

// Broken lists the queues that could not be served when the store last answered,
// each with the reason.
func (q *Queues) Broken() (reasons []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.depths {
		if d.Broken != "" {
			reasons = append(reasons, "queue "+d.Queue+": "+d.Broken)
		}
	}
	return reasons
}

// Latest returns what the store has said, no more than a second ago. ok is
// false if it cannot say within 700 ms, or while Run does not run.
func (q *Queues) Latest(ctx context.Context) (depths []driver.Depth, ok bool) {
	q.mu.Lock()
	depths, at, changed := q.depths, q.at, q.changed
	q.mu.Unlock()
	if time.Since(at) < queuesFresh {
		return depths, true
	}
	select {
	case q.asks <- struct{}{}:
	default: // it is asked already
	}
	patience := time.NewTimer(queuesPatience)
	defer patience.Stop()
	select {
	case <-changed:
	case <-patience.C:
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.depths, time.Since(q.at) < queuesFresh
}

// queueCollector renders an answer of the task store, if there is one.
type queueCollector struct {
	depths []driver.Depth
	ok     bool
	ready  bool // tasks can be taken
}

// Describe says nothing, see poolCollector.
func (queueCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (q queueCollector) Collect(ch chan<- prometheus.Metric) {
	gauge(ch, queuesUp, one(q.ok))
	gauge(ch, storeReady, one(q.ready))
	if !q.ok {
		return
	}
	for _, d := range q.depths[:min(len(q.depths), maxSeries)] {
		gauge(ch, queueTasks, d.Waiting, d.Queue, "waiting")
		gauge(ch, queueTasks, d.Scheduled, d.Queue, "scheduled")
		gauge(ch, queueTasks, d.Running, d.Queue, "running")
		gauge(ch, queueTasks, d.Dead, d.Queue, "dead")
		gauge(ch, queuePaused, one(d.Paused), d.Queue)
		gauge(ch, queueBroken, one(d.Broken != ""), d.Queue)
		gauge(ch, oldestWaiting, d.Oldest.Seconds(), d.Queue)
	}
}
