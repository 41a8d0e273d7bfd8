package metrics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs/driver"
)

// waitingName is the metric from which the master's history has the number of waiting tasks.
const waitingName = "gale_tasks_waiting"

var tasksWaiting = desc(waitingName, "Waiting tasks of all queues, read by one process every ten seconds.")

// waitingInterval is the time between two readings of the store. It grows if a reading takes
// more than a hundredth of it: the store may read every waiting task.
const waitingInterval = 10 * time.Second

// Waiting reads the number of waiting tasks from the task store. One process of a server
// does so, because the master has no open store. The zero value is ready to use, and
// collects no metric until Run has read the store.
type Waiting struct {
	known atomic.Pointer[int]
}

// Run reads the store until ctx is done. It returns nil. While the store does not respond,
// there is no metric; the store logs the cause.
func (w *Waiting) Run(ctx context.Context, store driver.Gauger) error {
	for {
		began := time.Now()
		w.known.Store(waiting(ctx, store))
		if !sleep.For(ctx, max(waitingInterval, 99*time.Since(began))) {
			return nil
		}
	}
}

// waiting returns the number of waiting tasks, or nil if it cannot be read.
func waiting(ctx context.Context, store driver.Gauger) *int {
	ctx, cancel := context.WithTimeout(ctx, queuesTimeout)
	defer cancel()
	all, err := store.Depth(ctx)
	if err != nil {
		return nil
	}
	sum := 0
	for _, d := range all {
		sum += d.Waiting
	}
	return &sum
}

// Describe implements prometheus.Collector; see poolCollector.
func (*Waiting) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (w *Waiting) Collect(ch chan<- prometheus.Metric) {
	if n := w.known.Load(); n != nil {
		gauge(ch, tasksWaiting, *n)
	}
}
