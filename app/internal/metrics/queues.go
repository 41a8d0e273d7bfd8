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
	"github.com/galeserver/gale/jobs/workerapi"
)

const (
	// queuesFresh is how long a result of the task store is used.
	queuesFresh = time.Second
	// queuesPatience is how long Latest waits for a new result.
	queuesPatience = 700 * time.Millisecond
	// queuesTimeout is the timeout of calls to the store.
	queuesTimeout = 5 * time.Second
	// readyFor is how long a store that does not respond still counts as ready.
	readyFor = 15 * time.Second
)

// Store is a task store that Queues reads and closes.
type Store interface {
	driver.Gauger
	Close() error
}

// Queues reads the depth of all queues from the task store. It reads only on demand, at most
// once per second, and makes one call at a time.
type Queues struct {
	open   func(context.Context) (Store, error)
	wanted chan struct{} // capacity 1: signals Run to read the store

	mu      sync.Mutex
	depths  []driver.Depth // last successful result
	at      time.Time      // time of that result
	err     error          // why the store did not accept tasks at the last read, or nil
	changed chan struct{}  // closed after the next read
}

// NewQueues returns Queues for the store that open opens. Run calls open when the depths are
// needed for the first time.
func NewQueues(open func(context.Context) (Store, error)) *Queues {
	return &Queues{open: open, wanted: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Run reads the store for Latest until ctx is done. It then closes the store and returns the
// error of that.
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
		case <-q.wanted:
		}
		if q.fresh() {
			continue // an earlier read has served this call
		}
		if store == nil {
			store, openErr = q.open(ctx) // Latest and Trouble report the error
		}
		depths, err := depth(ctx, store)
		responded := err == nil
		if responded {
			err = ready(ctx, store)
		}
		q.mu.Lock()
		q.err = err
		if store == nil {
			q.err = cmp.Or(openErr, err)
		}
		if responded {
			q.depths, q.at = depths, time.Now()
		}
		close(q.changed)
		q.changed = make(chan struct{})
		q.mu.Unlock()
	}
}

// fresh reports whether the last result may still be used.
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
	if all, ok := store.(driver.Store); ok {
		return workerapi.Depth(ctx, all)
	}
	return store.Depth(ctx)
}

// ready returns why the store does not accept tasks, or nil. A store without a method Ready
// is always ready.
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

// errNoResponse is the reason if the store does not respond.
var errNoResponse = errors.New("task store does not respond")

// Trouble returns why the store does not accept tasks, or nil. A store that does not respond
// counts as ready for 15 seconds after its last response.
func (q *Queues) Trouble(ctx context.Context) error {
	q.Latest(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil && time.Since(q.at) > readyFor {
		return errNoResponse
	}
	return q.err
}

// Broken returns a reason for each queue that the store could not serve at its last response.
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

// Latest returns the depths of the queues, not older than a second. ok is false if the store
// does not respond within 700 ms, or if Run is not running.
func (q *Queues) Latest(ctx context.Context) (depths []driver.Depth, ok bool) {
	q.mu.Lock()
	depths, at, changed := q.depths, q.at, q.changed
	q.mu.Unlock()
	if time.Since(at) < queuesFresh {
		return depths, true
	}
	select {
	case q.wanted <- struct{}{}:
	default: // Run has been signalled
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

// queueCollector collects the metrics of queues.
type queueCollector struct {
	depths []driver.Depth
	ok     bool // depths is valid
	ready  bool // the store accepts tasks
}

// Describe implements prometheus.Collector; see poolCollector.
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
		gauge(ch, unclaimed, d.Unclaimed, d.Queue)
	}
}
