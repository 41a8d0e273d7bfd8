package history

import (
	"math"
	"slices"
	"time"

	"github.com/galeserver/gale/internal/quantile"
)

// Totals are sums over all processes since the server started. They do not decrease, except
// for Waiting.
type Totals struct {
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors"` // responses with a 5xx status
	// Latency are the durations of requests.
	Latency Histogram `json:"latency"`
	// Succeeded, Failed and Retried count attempts of tasks by outcome. Failed includes
	// tasks that became dead letters.
	Succeeded float64 `json:"succeeded"`
	Failed    float64 `json:"failed"`
	Retried   float64 `json:"retried"`
	// Durations are the durations of attempts.
	Durations Histogram `json:"durations"`
	// Waiting is the present number of waiting tasks; nil if unknown.
	Waiting *float64 `json:"waiting,omitempty"`
}

// Histogram counts durations.
type Histogram struct {
	// Bounds are the upper bounds of the buckets in seconds, in ascending order.
	Bounds []float64 `json:"bounds,omitempty"`
	// Counts has the number of durations in each bucket, and a last element for those above
	// the last bound.
	Counts []float64 `json:"counts,omitempty"`
}

// window is the change of the totals in a time.
type window struct {
	Seconds   float64   `json:"seconds"`
	Requests  float64   `json:"requests"`
	Errors    float64   `json:"errors"`
	Latency   Histogram `json:"latency"`
	Succeeded float64   `json:"succeeded"`
	Failed    float64   `json:"failed"`
	Retried   float64   `json:"retried"`
	Durations Histogram `json:"durations"`
	Waiting   float64   `json:"waiting"`  // sum of the known numbers
	Readings  int       `json:"readings"` // of Waiting
}

// between returns the change from a to b in a time.
func between(a, b Totals, length time.Duration) window {
	w := window{
		Seconds: length.Seconds(), Requests: grown(a.Requests, b.Requests), Errors: grown(a.Errors, b.Errors), Latency: b.Latency.since(a.Latency),
		Succeeded: grown(a.Succeeded, b.Succeeded), Failed: grown(a.Failed, b.Failed), Retried: grown(a.Retried, b.Retried),
		Durations: b.Durations.since(a.Durations),
	}
	if b.Waiting != nil {
		w.Waiting, w.Readings = *b.Waiting, 1
	}
	return w
}

// grown returns the change from a to b, and 0 if b is smaller: the report of a process could
// not be read.
func grown(a, b float64) float64 { return max(b-a, 0) }

// add adds the window that follows.
func (w *window) add(next window) {
	w.Seconds += next.Seconds
	w.Requests += next.Requests
	w.Errors += next.Errors
	w.Latency = w.Latency.plus(next.Latency)
	w.Succeeded += next.Succeeded
	w.Failed += next.Failed
	w.Retried += next.Retried
	w.Durations = w.Durations.plus(next.Durations)
	w.Waiting += next.Waiting
	w.Readings += next.Readings
}

// point returns the rates per second, the quantiles, and the mean number of waiting tasks.
func (w window) point() point {
	waiting := math.NaN()
	if w.Readings > 0 {
		waiting = w.Waiting / float64(w.Readings)
	}
	return point{
		w.Requests / w.Seconds, w.Errors / w.Seconds, w.Latency.quantile(.5), w.Latency.quantile(.95),
		w.Succeeded / w.Seconds, w.Failed / w.Seconds, w.Retried / w.Seconds, waiting, w.Durations.quantile(.95),
	}
}

// since returns the durations that were counted after a. If the bounds differ, as after an
// update, it is empty.
func (h Histogram) since(a Histogram) Histogram {
	if len(a.Counts) == 0 {
		return h
	}
	if !slices.Equal(h.Bounds, a.Bounds) || len(h.Counts) != len(a.Counts) {
		return Histogram{}
	}
	change := Histogram{h.Bounds, make([]float64, len(h.Counts))}
	for i := range h.Counts {
		change.Counts[i] = grown(a.Counts[i], h.Counts[i])
	}
	return change
}

// plus returns the sum of two histograms. If the bounds differ, it is the later one.
func (h Histogram) plus(later Histogram) Histogram {
	if len(later.Counts) == 0 {
		return h
	}
	if !slices.Equal(h.Bounds, later.Bounds) || len(h.Counts) != len(later.Counts) {
		return later
	}
	sum := Histogram{h.Bounds, make([]float64, len(h.Counts))}
	for i := range h.Counts {
		sum.Counts[i] = h.Counts[i] + later.Counts[i]
	}
	return sum
}

// quantile returns the q-quantile, see package quantile. It is NaN without durations.
func (h Histogram) quantile(q float64) float64 {
	value, ok := quantile.Of(q, h.Bounds, h.Counts)
	if !ok {
		return math.NaN()
	}
	return value
}
