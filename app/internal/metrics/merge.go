package metrics

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// format is the format of reports: length-delimited protobuf messages of Prometheus.
var format = expfmt.NewFormat(expfmt.TypeProtoDelim)

// maxSeries is the largest number of series of a metric in a slot. Further series are added
// to one whose labels all have the value "other".
const maxSeries = 4000

// notAdded are gauges whose sum over several processes has no meaning. The value of the
// slot's current process is used.
var notAdded = []string{
	"go_info", "go_gc_gogc_percent", "go_gc_gomemlimit_bytes", "go_sched_gomaxprocs_threads", "go_memstats_last_gc_time_seconds",
	"gale_tasks_waiting", "process_max_fds", "process_start_time_seconds", "process_virtual_memory_max_bytes",
}

// Merge adds the last report of a process that has ended to the past of its slot. It adds
// counters, histograms and summaries, but not gauges. A report that cannot be decoded is
// ignored. Merge is a callback for prefork.Options.
func Merge(past, last []byte) []byte {
	s := newSum()
	for _, text := range [][]byte{past, last} {
		families, err := decode(text)
		if err != nil {
			continue
		}
		s.add(families, false)
	}
	text, err := encode(s.sorted())
	if err != nil {
		return past
	}
	return text
}

// slotSum returns the metrics of a slot: the sum of the reports of its running processes,
// the current one first, and of its past; only those with some names, if there are any. The error is that of the first report that could
// not be decoded.
func slotSum(reports [][]byte, past []byte, names ...string) ([]*dto.MetricFamily, error) {
	s := newSum()
	var failed error
	for i, text := range append(slices.Clone(reports), past) {
		families, err := decode(text, names...)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		s.add(families, i < len(reports))
	}
	for _, f := range s.byName {
		for _, m := range f.Metric {
			roundSums(m)
		}
	}
	return s.sorted(), failed
}

// roundSums rounds sums to twelve digits. When a process ends, its numbers are added in
// another order, and the last bit of a sum may differ: a counter would seem to fall, which
// Prometheus takes for a restart.
func roundSums(m *dto.Metric) {
	switch {
	case m.Counter != nil:
		m.Counter.Value = new(rounded(m.Counter.GetValue()))
	case m.Summary != nil:
		m.Summary.SampleSum = new(rounded(m.Summary.GetSampleSum()))
	case m.Histogram != nil:
		m.Histogram.SampleSum = new(rounded(m.Histogram.GetSampleSum()))
	}
}

func rounded(x float64) float64 {
	if x == math.Trunc(x) || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 12, 64), 64)
	if err != nil {
		return x
	}
	return r
}

// sum adds the metrics of several processes.
type sum struct {
	byName map[string]*family
}

type family struct {
	*dto.MetricFamily
	series map[string]*dto.Metric // by signature of the labels
}

func newSum() *sum { return &sum{map[string]*family{}} }

// add adds the metrics of a process. living is false if the process has ended; its gauges
// are then ignored.
func (s *sum) add(families []*dto.MetricFamily, living bool) {
	for _, f := range families {
		switch f.GetType() {
		case dto.MetricType_COUNTER, dto.MetricType_SUMMARY, dto.MetricType_HISTOGRAM:
		case dto.MetricType_GAUGE:
			if !living {
				continue
			}
		default: // the registries of children have no others
			continue
		}
		total := s.byName[f.GetName()]
		if total == nil {
			total = &family{&dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit}, map[string]*dto.Metric{}}
			s.byName[f.GetName()] = total
		}
		if !agree(total.MetricFamily, f) {
			continue // another type in another release: the current process counts
		}
		for _, m := range f.GetMetric() {
			total.add(m, living)
		}
	}
}

func (f *family) add(m *dto.Metric, living bool) {
	had := f.series[signature(m.GetLabel())]
	if had == nil && len(f.series) >= maxSeries {
		for _, l := range m.GetLabel() {
			l.Value = new(other)
		}
		had = f.series[signature(m.GetLabel())]
	}
	if had == nil {
		if c := m.GetCounter(); c != nil {
			c.CreatedTimestamp, c.Exemplar = nil, nil
		}
		if h := m.GetHistogram(); h != nil {
			h.CreatedTimestamp, h.Exemplars = nil, nil
		}
		if q := m.GetSummary(); q != nil && !living {
			q.Quantile = nil
		}
		f.series[signature(m.GetLabel())] = m
		f.Metric = append(f.Metric, m)
		return
	}
	switch {
	case had.GetCounter() != nil && m.GetCounter() != nil:
		had.Counter.Value = new(had.Counter.GetValue() + m.Counter.GetValue())
	case had.GetGauge() != nil && m.GetGauge() != nil:
		if !slices.Contains(notAdded, f.GetName()) {
			had.Gauge.Value = new(had.Gauge.GetValue() + m.Gauge.GetValue())
		}
	case had.GetSummary() != nil && m.GetSummary() != nil:
		had.Summary.SampleCount = new(had.Summary.GetSampleCount() + m.Summary.GetSampleCount())
		had.Summary.SampleSum = new(had.Summary.GetSampleSum() + m.Summary.GetSampleSum())
	case had.GetHistogram() != nil && m.GetHistogram() != nil:
		addHistogram(had.Histogram, m.Histogram)
	}
}

// signature returns a key that is unique for a set of labels.
func signature(labels []*dto.LabelPair) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.GetName())
		b.WriteByte(0xff) // never occurs in UTF-8
		b.WriteString(l.GetValue())
		b.WriteByte(0xff)
	}
	return b.String()
}

// sorted returns the families, sorted by name.
func (s *sum) sorted() []*dto.MetricFamily {
	all := make([]*dto.MetricFamily, 0, len(s.byName))
	for _, f := range s.byName {
		all = append(all, f.MetricFamily)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all
}

func encode(families []*dto.MetricFamily) ([]byte, error) {
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("encode metrics: %w", err)
		}
	}
	return b.Bytes(), nil
}

// decode decodes the output of encode, or the families with some names only. Unlike the
// decoder of expfmt, it checks lengths before it allocates memory.
func decode(text []byte, names ...string) (families []*dto.MetricFamily, err error) {
	for len(text) > 0 {
		message, size := protowire.ConsumeBytes(text)
		if size < 0 {
			return nil, fmt.Errorf("decode metrics: %w", protowire.ParseError(size))
		}
		if name := nameOf(message); len(names) > 0 && name != "" && !slices.Contains(names, name) {
			text = text[size:]
			continue
		}
		f := &dto.MetricFamily{}
		if err := proto.Unmarshal(message, f); err != nil {
			return nil, fmt.Errorf("decode metrics: %w", err)
		}
		families, text = append(families, f), text[size:]
	}
	return families, nil
}
