package metrics

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/galeserver/gale/internal/tasktrace"
	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Exemplars keeps an example for each bucket of the histograms of requests and attempts: the
// trace of the last span in it that is sent to the Collector. Durations above the last bound
// have none. The zero value is ready to use.
type Exemplars struct {
	mu       sync.Mutex
	requests [len(bounds)]*dto.Exemplar
	attempts map[attemptKey][]*dto.Exemplar // by bucket
}

// attemptKey are the labels of a series of taskDurationName.
type attemptKey struct{ task, outcome string }

// Observe keeps the trace of a span that ends as an example. It ignores spans that are neither of
// a request nor of an attempt.
func (e *Exemplars) Observe(s sdk.ReadOnlySpan) {
	switch s.SpanKind() {
	case trace.SpanKindServer:
		e.mu.Lock()
		defer e.mu.Unlock()
		keepExemplar(e.requests[:], bounds[:], s)
	case trace.SpanKindConsumer:
		var key attemptKey
		for _, a := range s.Attributes() {
			switch a.Key {
			case tracing.TaskName:
				key.task = a.Value.AsString()
			case tasktrace.Outcome:
				key.outcome = string(driver.EventOf(jobs.State(a.Value.AsString())))
			}
		}
		if key.task == "" || key.outcome == "" {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.attempts == nil {
			e.attempts = map[attemptKey][]*dto.Exemplar{}
		}
		if e.attempts[key] == nil {
			e.attempts[key] = make([]*dto.Exemplar, len(longBounds))
		}
		keepExemplar(e.attempts[key], longBounds, s)
	default:
	}
}

// keepExemplar replaces the example of the bucket to which the duration of a span belongs.
func keepExemplar(buckets []*dto.Exemplar, bounds []float64, s sdk.ReadOnlySpan) {
	took := s.EndTime().Sub(s.StartTime()).Seconds()
	i, _ := slices.BinarySearch(bounds, took)
	if i == len(bounds) {
		return
	}
	buckets[i] = &dto.Exemplar{
		Label:     []*dto.LabelPair{{Name: new("trace_id"), Value: new(s.SpanContext().TraceID().String())}},
		Value:     new(took),
		Timestamp: timestamppb.New(s.EndTime()),
	}
}

// With returns a Gatherer of the metrics of g with the examples. The histogram of requests,
// which the master has in shared memory, becomes a family with counts of zero; Collector adds
// its examples to that of the master.
func (e *Exemplars) With(g prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, f := range families {
			if f.GetName() == taskDurationName {
				for _, m := range f.Metric {
					setExemplars(m.Histogram, e.attempts[attemptKey{label(m, "task"), label(m, "outcome")}])
				}
			}
		}
		if !slices.ContainsFunc(e.requests[:], func(x *dto.Exemplar) bool { return x != nil }) {
			return families, err
		}
		h := &dto.Histogram{SampleCount: new(uint64(0)), SampleSum: new(0.0)}
		for _, bound := range bounds { //nolint:wastedassign // it does not know new(bound)
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: new(bound), CumulativeCount: new(uint64(0))})
		}
		setExemplars(h, e.requests[:])
		return append(families, &dto.MetricFamily{
			Name: new(requestDurationName), Help: new(requestDurationHelp), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: h}},
		}), err
	})
}

func setExemplars(h *dto.Histogram, buckets []*dto.Exemplar) {
	for i, b := range h.GetBucket() {
		if i < len(buckets) {
			b.Exemplar = buckets[i]
		}
	}
}

// newestExemplar returns the newer one of the examples of a bucket in two processes.
func newestExemplar(a, b *dto.Exemplar) *dto.Exemplar {
	if timeOf(a) < timeOf(b) {
		return b
	}
	return a
}

// timeOf returns the time of an example in nanoseconds, or 0 for nil.
func timeOf(x *dto.Exemplar) int64 {
	if x == nil {
		return 0
	}
	return x.GetTimestamp().AsTime().UnixNano()
}

// addExemplars adds the examples of the requests of a slot to the histogram of the master.
func addExemplars(all, f *dto.MetricFamily, slot string) {
	for _, m := range all.GetMetric() {
		if label(m, "slot") == slot {
			for _, given := range f.GetMetric() {
				addHistogram(m.Histogram, given.Histogram)
			}
		}
	}
}
