package metrics

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// agree reports whether two families can be added. A metric that is a histogram now and was
// a summary in another release can be added: the summary is converted to a histogram
// without buckets.
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

// addHistogram adds h to had. If a bound exists in only one of them, the other contributes
// its count up to the next lower bound. That count may be too small but never too large,
// and no later addition decreases it.
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
	for _, bound := range bounds {
		sums = append(sums, &dto.Bucket{
			UpperBound: new(bound), CumulativeCount: new(upTo(had, bound) + upTo(h, bound)),
			Exemplar: newestExemplar(exemplarOf(had, bound), exemplarOf(h, bound)),
		})
	}
	had.Bucket = sums
	had.SampleCount = new(had.GetSampleCount() + h.GetSampleCount())
	had.SampleSum = new(had.GetSampleSum() + h.GetSampleSum())
}

// exemplarOf returns the exemplar of the bucket with a bound, or nil.
func exemplarOf(h *dto.Histogram, bound float64) *dto.Exemplar {
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() == bound {
			return b.GetExemplar()
		}
	}
	return nil
}

// upTo returns the number of values that are certainly not larger than bound.
func upTo(h *dto.Histogram, bound float64) (count uint64) {
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() <= bound {
			count = max(count, b.GetCumulativeCount())
		}
	}
	return count
}
