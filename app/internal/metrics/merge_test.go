package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// process returns the report of a process with these metrics.
func process(t testing.TB, done, running, goroutines float64, more ...prometheus.Metric) []byte {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(collected(func(ch chan<- prometheus.Metric) {
		counter(ch, desc("done_total", "Done."), done)
		counter(ch, desc("by_kind_total", "Done.", "kind"), done, "a")
		gauge(ch, desc("running", "Running."), running)
		gauge(ch, desc("process_start_time_seconds", "Start."), goroutines)
		ch <- prometheus.MustNewConstSummary(desc("took_seconds", "Took."), uint64(done), done/2, map[float64]float64{.5: goroutines})
		for _, m := range more {
			ch <- m
		}
	}))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	report, err := encode(families)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

type collected func(chan<- prometheus.Metric)

func (collected) Describe(chan<- *prometheus.Desc)      {}
func (c collected) Collect(ch chan<- prometheus.Metric) { c(ch) }

// text returns families in Prometheus' text format, without comments.
func text(t testing.TB, families []*dto.MetricFamily) string {
	t.Helper()
	var all, lines strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&all, f); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(all.String()) {
		if !strings.HasPrefix(line, "#") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// Counters are added over all processes, and gauges over the running ones. For gauges in
// notAdded, the value of the current process counts.
func TestASlotIsTheSumOfItsProcesses(t *testing.T) {
	past := Merge(nil, process(t, 100, 50, 1))
	past = Merge(past, process(t, 20, 50, 2))
	families, err := slotSum([][]byte{process(t, 3, 2, 30), process(t, 4, 5, 40)}, past)
	if err != nil {
		t.Fatal(err)
	}
	want := `by_kind_total{kind="a"} 127
done_total 127
process_start_time_seconds 30
running 7
took_seconds{quantile="0.5"} 30
took_seconds_sum 63.5
took_seconds_count 127
`
	if got := text(t, families); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A counter does not change when a process ends, in whatever order the numbers are added:
// 0.1+0.2+0.3 is more than 0.3+0.2+0.1.
func TestSumDoesNotDependOnTheOrder(t *testing.T) {
	sum := func(past []byte, running ...float64) string {
		t.Helper()
		var reports [][]byte
		for _, done := range running {
			reports = append(reports, process(t, done, 0, 0))
		}
		families, err := slotSum(reports, past, "done_total", "took_seconds")
		if err != nil {
			t.Fatal(err)
		}
		return text(t, families)
	}
	all := sum(nil, 0.1, 0.2, 0.3)
	past := Merge(Merge(nil, process(t, 0.3, 0, 0)), process(t, 0.2, 0, 0))
	if got := sum(past, 0.1); !strings.Contains(got, "done_total 0.6\n") || !strings.Contains(all, "done_total 0.6\n") {
		t.Errorf("all running:\n%stwo have ended:\n%s", all, got)
	}
}

func TestASlotWithoutProcessesIsItsPast(t *testing.T) {
	families, err := slotSum(nil, Merge(nil, process(t, 8, 50, 1)))
	want := "by_kind_total{kind=\"a\"} 8\ndone_total 8\ntook_seconds_sum 4\ntook_seconds_count 8\n"
	if got := text(t, families); err != nil || got != want {
		t.Errorf("%v, got\n%swant\n%s", err, got, want)
	}
}

func TestWhatCannotBeReadChangesNothing(t *testing.T) {
	past := Merge(nil, process(t, 8, 0, 0))
	for _, bad := range [][]byte{nil, []byte("no metrics"), past[:len(past)-3]} {
		if got := Merge(past, bad); string(got) != string(past) {
			t.Errorf("after %q: %q", bad, got)
		}
	}
	families, err := slotSum([][]byte{[]byte("no metrics"), process(t, 1, 0, 0)}, past)
	if err == nil || !strings.Contains(text(t, families), "done_total 9\n") {
		t.Errorf("%v\n%s", err, text(t, families))
	}
}

// A metric whose type differs from that of the current process is ignored.
func TestTypesThatDisagree(t *testing.T) {
	was := prometheus.MustNewConstMetric(desc("odd_total", "Odd."), prometheus.CounterValue, 5)
	is := prometheus.MustNewConstMetric(desc("odd_total", "Odd."), prometheus.GaugeValue, 7)
	families, err := slotSum([][]byte{process(t, 0, 0, 0, is)}, Merge(nil, process(t, 0, 0, 0, was)))
	if err != nil || !strings.Contains(text(t, families), "odd_total 7\n") {
		t.Errorf("%v\n%s", err, text(t, families))
	}
}

// Names of queues come from clients, so the number of series in a slot's past is limited. The
// sum stays correct.
func TestThePastIsBounded(t *testing.T) {
	var past []byte
	const reports, each = 6, 1000
	for i := range reports {
		var more []prometheus.Metric
		for j := range each {
			more = append(more, prometheus.MustNewConstMetric(taskEvents, prometheus.CounterValue, 1, "started", "task", fmt.Sprintf("%d-%d", i, j)))
		}
		past = Merge(past, process(t, 0, 0, 0, more...))
	}
	families, err := decode(past)
	if err != nil {
		t.Fatal(err)
	}
	sum, series := 0.0, 0
	for _, f := range families {
		if f.GetName() == "gale_task_events_total" {
			for _, m := range f.Metric {
				sum += m.GetCounter().GetValue()
				series++
			}
		}
	}
	if sum != reports*each || series != maxSeries+1 {
		t.Errorf("%v events in %d series", sum, series)
	}
}

func FuzzMerge(f *testing.F) {
	report := process(f, 3, 2, 1)
	f.Add(report, report)
	f.Add([]byte{}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, past, last []byte) {
		merged := Merge(past, last)
		if _, err := decode(merged); err != nil && len(merged) > 0 && string(merged) != string(past) {
			t.Errorf("merged into what cannot be read: %v", err)
		}
		_, _ = slotSum([][]byte{last}, past)
	})
}
