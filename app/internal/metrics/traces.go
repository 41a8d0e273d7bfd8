package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/app/internal/otlp"
)

var (
	traceSent    = desc("gale_trace_spans_sent_total", "Spans that the OpenTelemetry Collector has accepted.")
	traceDropped = desc("gale_trace_spans_dropped_total", "Spans that are lost because the OpenTelemetry Collector did not accept them in time.")
)

type traceCollector struct{ counters *otlp.Counters }

// Describe implements prometheus.Collector; see poolCollector.
func (traceCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c traceCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.counters.Stats()
	counter(ch, traceSent, s.Sent)
	counter(ch, traceDropped, s.Dropped)
}
