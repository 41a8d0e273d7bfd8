package statsd

import (
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/internal/quantile"
)

// line is the text for one series, without a line feed at its end.
type line struct {
	text string
	sent func() // records that the text was sent; nil: nothing to record
}

// lines returns the lines for metrics. Counters have the difference to what was sent before,
// and are left out if there is none.
func (s *Sender) lines(families []*dto.MetricFamily) (all []line) {
	for _, f := range families {
		for _, m := range f.GetMetric() {
			series := series{s, s.target.name(f.GetName()), m.GetLabel(), key(f.GetName(), m.GetLabel())}
			switch {
			case m.GetCounter() != nil:
				all = series.counter(all, "", m.GetCounter().GetValue())
			case m.GetGauge() != nil:
				all = series.gauge(all, "", m.GetGauge().GetValue())
			case m.GetSummary() != nil:
				all = series.counter(all, ".count", float64(m.GetSummary().GetSampleCount()))
				all = series.counter(all, ".sum", m.GetSummary().GetSampleSum())
			case m.GetHistogram() != nil:
				all = series.histogram(all, m.GetHistogram())
			}
		}
	}
	return all
}

// key returns a text that is unique for a series.
func key(name string, labels []*dto.LabelPair) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range labels {
		b.WriteByte(0xff) // never occurs in UTF-8
		b.WriteString(l.GetName())
		b.WriteByte(0xff)
		b.WriteString(l.GetValue())
	}
	return b.String()
}

// series is a metric with its labels.
type series struct {
	s      *Sender
	name   string
	labels []*dto.LabelPair
	key    string
}

// counter adds the line of a counter. Counters do not decrease; should one do so, nothing is
// sent until it exceeds its earlier value.
func (x series) counter(all []line, suffix string, value float64) []line {
	key := x.key + suffix
	change := value - x.s.counters[key]
	if !(change > 0) || math.IsInf(change, 0) {
		return all
	}
	sent := func() { x.s.counters[key] = value }
	if x.s.skip {
		sent()
		return all
	}
	return append(all, line{x.s.target.format(x.name+suffix, number(change), "c", x.labels), sent})
}

// gauge adds the line of a gauge. Plain statsd subtracts a value that has a sign, so a
// negative value follows a zero.
func (x series) gauge(all []line, suffix string, value float64) []line {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return all
	}
	text := x.s.target.format(x.name+suffix, number(value), "g", x.labels)
	if value < 0 && !x.s.target.Tags {
		text = x.s.target.format(x.name+suffix, "0", "g", x.labels) + "\n" + text
	}
	return append(all, line{text: text})
}

// histogram adds the count and the sum of a histogram as counters, and the quantiles of the
// values since the last transmission as gauges.
func (x series) histogram(all []line, h *dto.Histogram) []line {
	all = x.counter(all, ".count", float64(h.GetSampleCount()))
	all = x.counter(all, ".sum", h.GetSampleSum())
	before := x.s.histograms[x.key]
	sent := func() { x.s.histograms[x.key] = h }
	if x.s.skip {
		sent()
		return all
	}
	since := len(all)
	bounds, counts := additional(before, h)
	for _, q := range []struct {
		suffix string
		rank   float64
	}{{".p50", 0.5}, {".p95", 0.95}, {".p99", 0.99}} {
		if value, ok := quantile.Of(q.rank, bounds, counts); ok {
			all = x.gauge(all, q.suffix, value)
		}
	}
	if len(all) > since {
		all[len(all)-1].sent = sent
	}
	return all
}

// additional returns the finite bounds of h, and the numbers of values in its buckets that h
// has in addition to before.
func additional(before, h *dto.Histogram) (bounds, counts []float64) {
	earlier := map[float64]uint64{}
	for _, b := range before.GetBucket() {
		earlier[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	below := 0.0
	for _, b := range h.GetBucket() {
		bound := b.GetUpperBound()
		if math.IsInf(bound, 0) {
			break
		}
		upTo := max(below, float64(b.GetCumulativeCount())-float64(earlier[bound]))
		bounds, counts, below = append(bounds, bound), append(counts, upTo-below), upTo
	}
	total := float64(h.GetSampleCount()) - float64(before.GetSampleCount())
	return bounds, append(counts, max(0, total-below))
}

// number returns a number without an exponent, which not all daemons parse.
func number(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// name returns the name of a metric below the prefix.
func (t Target) name(metric string) string {
	return t.Prefix + "." + strings.TrimPrefix(metric, "gale_")
}

// format returns the text for a value. Without tags, the values of the labels, sorted by
// label, are parts of the name.
func (t Target) format(name, value, kind string, labels []*dto.LabelPair) string {
	var after strings.Builder
	labels = slices.SortedFunc(slices.Values(labels), func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	for i, l := range labels {
		switch {
		case !t.Tags:
			name += "." + clean(l.GetValue(), "")
			continue
		case i == 0:
			after.WriteString("|#")
		default:
			after.WriteByte(',')
		}
		after.WriteString(l.GetName() + ":" + clean(l.GetValue(), "./:"))
	}
	return name + ":" + value + "|" + kind + after.String()
}

// clean replaces the characters that a name, or a tag, cannot contain.
func clean(text, also string) string {
	if text == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', strings.ContainsRune(also, r):
			return r
		}
		return '_'
	}, text)
}
