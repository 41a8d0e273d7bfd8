package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/uploads"
)

// longBounds are the upper bounds of the buckets for long durations, in seconds.
var longBounds = []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}

// Uploads counts uploads and measures their duration.
type Uploads struct {
	uploads.Counters
	took     *prometheus.HistogramVec
	storage  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	deferred atomic.Int64
}

// TaskDeferred counts a failed attempt to start the tasks of a stored file.
func (u *Uploads) TaskDeferred() { u.deferred.Add(1) }

// Refused counts a file that was refused by a decision about it.
func (u *Uploads) Refused(by string) { u.refused.WithLabelValues(by).Inc() }

// NewUploads returns Uploads with all counters at zero.
func NewUploads() *Uploads {
	return &Uploads{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gale_upload_duration_seconds", Help: "Duration of uploads from the first byte to the end, by code.", Buckets: longBounds,
		}, []string{"code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gale_upload_refused_total", Help: "Files refused by a decision: of the application, the hook, because of a fault of the hook, or by a quota.",
		}, []string{"by"}),
		storage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gale_storage_request_duration_seconds", Help: "Duration of requests to object storage until the head of the response, by method and status; status 0 is no response.", Buckets: longBounds,
		}, []string{"method", "status"}),
	}
}

// StorageRequest implements s3.Meter.
func (u *Uploads) StorageRequest(method string, status int, took time.Duration) {
	u.storage.WithLabelValues(method, strconv.Itoa(status)).Observe(took.Seconds())
}

// FileEnded implements uploads.Meter.
func (u *Uploads) FileEnded(code int, took time.Duration) {
	u.Counters.FileEnded(code, took)
	u.took.WithLabelValues(strconv.Itoa(code)).Observe(took.Seconds())
}

// Tasks counts events of tasks and measures the duration of attempts.
type Tasks struct {
	meter.Counters
	took *prometheus.HistogramVec
}

// NewTasks returns Tasks with all counters at zero.
func NewTasks() *Tasks {
	return &Tasks{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: taskDurationName, Help: "Duration of attempts to run tasks, by outcome.", Buckets: longBounds,
	}, []string{"task", "outcome"})}
}

// Took implements meter.Stopwatch. The number of label values is small, because a worker
// only runs registered tasks.
func (t *Tasks) Took(e meter.Event, task string, took time.Duration) {
	t.took.WithLabelValues(task, string(e)).Observe(took.Seconds())
}
