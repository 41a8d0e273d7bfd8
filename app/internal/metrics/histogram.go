package metrics

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// agree reports whether two families can be added up. One that is a histogram
// and was a summary in another release can, as a histogram that says only how
// many there were and what they come to.
func agree(a, b *dto.MetricFamily) bool {
	if a.GetType() == b.GetType() {
		return true
	}
	for _, f := range []*dto.MetricFamily{a, b} {
		if t := f.GetType(); t != dto.MetricType_SUMMARY && t != dto.MetricType_HISTOGRAM {
			return false
		}
	}
	for _, f := range []*dto.MetricFamily{a, b} {
		if f.GetType() == dto.MetricType_SUMMARY {
			toHistogram(f)
		}
	}
	return true
}

func toHistogram(f *dto.MetricFamily) {
	f.Type = dto.MetricType_HISTOGRAM.Enum()
	for _, m := range f.Metric {
		m.Histogram = &dto.Histogram{
			SampleCount: new(m.GetSummary().GetSampleCount()), SampleSum: new(m.GetSummary().GetSampleSum()),
		}
		m.Summary = nil
	}
}

// addHistogram adds h to had. Where one of them does not have a bound that the
// other has, what it has up to the last one before counts: too little rather
// than too much, and no less after the next addition.
func addHistogram(had, h *dto.Histogram) {
	bounds := make([]float64, 0, len(had.GetBucket()))
	for _, b := range slices.Concat(had.GetBucket(), h.GetBucket()) {
		if !math.IsNaN(b.GetUpperBound()) {
			bounds = append(bounds, b.GetUpperBound())
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	sums := make([]*dto.Bucket, 0, len(bounds))
	for _, bound := range bounds { //nolint:wastedassign // it does not know new(bound)
		sums = append(sums, &dto.Bucket{UpperBound: new(bound), CumulativeCount: new(upTo(had, bound) + upTo(h, bound))})
	}
	had.Bucket = sums
	had.SampleCount = new(had.GetSampleCount() + h.GetSampleCount())
	had.SampleSum = new(had.GetSampleSum() + h.GetSampleSum())
}

// upTo is how many values a histogram knows to be no larger than a bound.
func upTo(h *dto.Histogram, bound float64) (count uint64) {
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() <= bound {
			count = max(count, b.GetCumulativeCount())
		}
	}
	return count
}
