package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/pool"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	poolWorkers    = desc("gale_pool_workers", "Maximum number of functions that the pool runs concurrently.", "pool")
	poolRunning    = desc("gale_pool_running", "Running functions.", "pool")
	poolCapacity   = desc("gale_pool_queue_capacity", "Maximum number of functions that may wait for a worker.", "pool")
	poolWaiting    = desc("gale_pool_waiting", "Functions that wait for a worker.", "pool")
	poolDone       = desc("gale_pool_done_total", "Functions that have returned.", "pool")
	poolPanics     = desc("gale_pool_panics_total", "Functions that panicked.", "pool")
	poolRefused    = desc("gale_pool_refused_total", "Functions refused because the queue was full.", "pool")
	poolAbandoned  = desc("gale_pool_abandoned_total", "Functions that did not run because their caller stopped waiting.", "pool")
	uploadsRunning = desc("gale_uploads_running", "Files that are being received.")
	uploadBytes    = desc("gale_upload_bytes_total", "Bytes written for uploads, including files that were not stored.")
	uploadFiles    = desc("gale_upload_files_total", "Finished uploads by code: 200 is stored.", "code")
	quarantined    = desc("gale_upload_quarantine_total", "Files that have left the quarantine: released or removed.", "result")
	uploadDeferred = desc("gale_upload_tasks_deferred_total", "Failed attempts to start the tasks of a stored file, which will be repeated.")
	taskEvents     = desc(taskEventsName, "Events of tasks.", "event", "task", "queue")
)

// poolCollector collects the metrics of pools, by purpose.
type poolCollector map[string]*pool.Pool

// Describe implements prometheus.Collector. It describes no metrics, because the series are
// only known when they are collected.
func (poolCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p poolCollector) Collect(ch chan<- prometheus.Metric) {
	for name, one := range p {
		s := one.Stats()
		gauge(ch, poolWorkers, s.Workers, name)
		gauge(ch, poolRunning, s.Running, name)
		gauge(ch, poolCapacity, s.Queue, name)
		gauge(ch, poolWaiting, s.Waiting, name)
		counter(ch, poolDone, s.Done, name)
		counter(ch, poolPanics, s.Panicked, name)
		counter(ch, poolRefused, s.Refused, name)
		counter(ch, poolAbandoned, s.Abandoned, name)
	}
}

type uploadCollector struct{ *Uploads }

// Describe implements prometheus.Collector; see poolCollector.
func (uploadCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (u uploadCollector) Collect(ch chan<- prometheus.Metric) {
	s := u.Stats()
	gauge(ch, uploadsRunning, s.Open)
	counter(ch, uploadBytes, s.Bytes)
	for code, n := range s.Files {
		counter(ch, uploadFiles, n, strconv.Itoa(code))
	}
	counter(ch, quarantined, s.Released, "released")
	counter(ch, quarantined, s.Rejected, "removed")
	counter(ch, uploadDeferred, u.deferred.Load())
	u.took.Collect(ch)
	u.storage.Collect(ch)
	u.refused.Collect(ch)
}

type taskCollector struct{ *Tasks }

// Describe implements prometheus.Collector; see poolCollector.
func (taskCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (t taskCollector) Collect(ch chan<- prometheus.Metric) {
	for _, c := range t.All() {
		counter(ch, taskEvents, c.Total, string(c.Event), c.Task, c.Queue)
	}
	t.took.Collect(ch)
}

type number interface {
	~int | ~int64 | ~uint64 | ~float64
}

func counter[N number](ch chan<- prometheus.Metric, d *prometheus.Desc, n N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge[N number](ch chan<- prometheus.Metric, d *prometheus.Desc, n N, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
}
