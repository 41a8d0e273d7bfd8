package metrics

import (
	"context"
	"math"
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/galeserver/gale/app/internal/history"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/prefork"
)

const (
	taskEventsName   = "gale_task_events_total"
	taskDurationName = "gale_task_duration_seconds"
)

// totalsNames are the metrics of reports that Totals decodes. It skips all others, which are
// nearly all of a report.
var totalsNames = []string{taskEventsName, taskDurationName, waitingName}

// Totals returns the sums over all slots for the history. It reads the master's memory only.
// The report of a process that cannot be decoded is left out.
func (c *Collector) Totals(ctx context.Context) (t history.Totals, err error) {
	o, err := c.figures(ctx)
	if err != nil {
		return t, err
	}
	var durations dto.Histogram
	for _, s := range o.Slots {
		addRequests(&t, s)
		for i, report := range append(slices.Clone(s.Reports), s.MergedReport) {
			addTasks(&t, &durations, report, i < len(s.Reports))
		}
	}
	t.Durations = separate(&durations)
	return t, nil
}

// addRequests adds the requests of a slot.
func addRequests(t *history.Totals, s prefork.SlotStats) {
	for key, n := range requestsOf(s.AppCounters) {
		t.Requests += float64(n)
		if code, _ := strconv.Atoi(key[1]); code >= 500 {
			t.Errors += float64(n)
		}
	}
	if t.Latency.Counts == nil {
		t.Latency = history.Histogram{Bounds: bounds[:], Counts: make([]float64, len(bounds)+1)}
	}
	for i := range t.Latency.Counts {
		t.Latency.Counts[i] += float64(s.AppCounters[durationWord+i])
	}
}

// addTasks adds the tasks in a report. living is false if its process has ended.
func addTasks(t *history.Totals, durations *dto.Histogram, report []byte, living bool) {
	families, err := decode(report, totalsNames...)
	if err != nil {
		return
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case taskEventsName:
				addEvents(t, meter.Event(label(m, "event")), m.GetCounter().GetValue())
			case taskDurationName:
				addHistogram(durations, m.GetHistogram())
			case waitingName:
				if living && t.Waiting == nil { // the processes that have this metric read the same store
					t.Waiting = new(m.GetGauge().GetValue())
				}
			}
		}
	}
}

func addEvents(t *history.Totals, e meter.Event, n float64) {
	switch e {
	case meter.EventSucceeded:
		t.Succeeded += n
	case meter.EventFailed, meter.EventDead:
		t.Failed += n
	case meter.EventRetried:
		t.Retried += n
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// separate converts cumulative counts to counts of each bucket.
func separate(h *dto.Histogram) (s history.Histogram) {
	before := uint64(0)
	for _, b := range h.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			s.Bounds, s.Counts = append(s.Bounds, b.GetUpperBound()), append(s.Counts, float64(b.GetCumulativeCount()-before))
			before = b.GetCumulativeCount()
		}
	}
	if len(s.Bounds) > 0 {
		s.Counts = append(s.Counts, float64(h.GetSampleCount()-before))
	}
	return s
}

// nameOf returns the name in an encoded metric family, without decoding the rest. It is empty
// if the name is not the first field, as in the output of encode.
func nameOf(message []byte) string {
	number, kind, size := protowire.ConsumeTag(message)
	if size < 0 || number != 1 || kind != protowire.BytesType {
		return ""
	}
	name, size := protowire.ConsumeBytes(message[size:])
	if size < 0 {
		return ""
	}
	return string(name)
}
