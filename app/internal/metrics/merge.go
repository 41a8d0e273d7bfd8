package metrics

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// format is that of reports: the protobuf of Prometheus, each family behind its
// length.
var format = expfmt.NewFormat(expfmt.TypeProtoDelim)

// maxSeries bounds the series of a family that the past of a slot tells apart.
// What comes later is counted in one whose labels are all "other".
const maxSeries = 4000

// notAdded are gauges that say something about a process which a sum over
// several would not; that of the slot's current process stands for them all.
var notAdded = []string{
	"go_info", "go_gc_gogc_percent", "go_gc_gomemlimit_bytes", "go_sched_gomaxprocs_threads", "go_memstats_last_gc_time_seconds",
	"process_max_fds", "process_start_time_seconds", "process_virtual_memory_max_bytes",
}

// Merge adds the last report of a process that is gone to the past of its slot:
// its counters and sums; how many goroutines it had is no longer true of
// anything. It is for prefork.Options. What it cannot read changes nothing.
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

// slotSum is what a slot comes to: its living processes, the current one first,
// and its past. The error is that of the first report that could not be read.
func slotSum(reports [][]byte, past []byte) ([]*dto.MetricFamily, error) {
	s := newSum()
	var failed error
	for i, text := range append(slices.Clone(reports), past) {
		families, err := decode(text)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		s.add(families, i < len(reports))
	}
	return s.sorted(), failed
}

// sum adds up families of several processes.
type sum struct {
	byName map[string]*family
}

type family struct {
	*dto.MetricFamily
	series map[string]*dto.Metric // by labels
}

func newSum() *sum { return &sum{map[string]*family{}} }

// add adds the families of a process that lives, or of one that is gone.
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
			continue // another release thinks otherwise; the current process is right
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

// signature tells series of a family apart.
func signature(labels []*dto.LabelPair) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.GetName())
		b.WriteByte(0xff) // in no UTF-8
		b.WriteString(l.GetValue())
		b.WriteByte(0xff)
	}
	return b.String()
}

// sorted returns the families by name.
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

// decode reads what encode has written. It looks at lengths before it trusts
// them, which the decoder of expfmt does not.
func decode(text []byte) (families []*dto.MetricFamily, err error) {
	for len(text) > 0 {
		message, size := protowire.ConsumeBytes(text)
		if size < 0 {
			return nil, fmt.Errorf("decode metrics: %w", protowire.ParseError(size))
		}
		f := &dto.MetricFamily{}
		if err := proto.Unmarshal(message, f); err != nil {
			return nil, fmt.Errorf("decode metrics: %w", err)
		}
		families, text = append(families, f), text[size:]
	}
	return families, nil
}
