package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/jobs/celery"
)

var (
	celeryMessages = desc("gale_celery_messages_total", "Messages of Celery clients by outcome.", "outcome")
	celeryResults  = desc("gale_celery_results_total", "Results stored for Celery clients.")
)

type celeryCollector struct{ counters *celery.Counters }

// Describe implements prometheus.Collector; see poolCollector.
func (celeryCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c celeryCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.counters.Stats()
	counter(ch, celeryMessages, s.Accepted, "accepted")
	counter(ch, celeryMessages, s.Rejected, "rejected")
	counter(ch, celeryMessages, s.Dropped, "dropped")
	counter(ch, celeryResults, s.Results)
}
