package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/uploads"
)

// longBounds are the upper ends of the classes of what may take long, in seconds.
var longBounds = []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}

// Uploads counts uploads and how long they took. Make one with NewUploads.
type Uploads struct {
	uploads.Counters
	took     *prometheus.HistogramVec
	deferred atomic.Int64
}

// TaskDeferred counts an attempt to start the tasks of a stored file that failed.
func (u *Uploads) TaskDeferred() { u.deferred.Add(1) }

// NewUploads makes one that has counted nothing.
func NewUploads() *Uploads {
	return &Uploads{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gale_upload_duration_seconds", Help: "How long files took from their first byte to their end, by code.", Buckets: longBounds,
	}, []string{"code"})}
}

// FileEnded implements uploads.Meter.
func (u *Uploads) FileEnded(code int, took time.Duration) {
	u.Counters.FileEnded(code, took)
	u.took.WithLabelValues(strconv.Itoa(code)).Observe(took.Seconds())
}

// Tasks counts what happens to tasks and how long attempts took. Make one with
// NewTasks.
type Tasks struct {
	meter.Counters
	took *prometheus.HistogramVec
}

// NewTasks makes one that has counted nothing.
func NewTasks() *Tasks {
	return &Tasks{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gale_task_duration_seconds", Help: "How long attempts at tasks took, by what they came to.", Buckets: longBounds,
	}, []string{"task", "outcome"})}
}

// Took implements meter.Stopwatch. A worker runs only tasks that it knows, so
// there are not many names.
func (t *Tasks) Took(e meter.Event, task string, took time.Duration) {
	t.took.WithLabelValues(task, string(e)).Observe(took.Seconds())
}
