package metrics

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/prefork"
)

// tasksReport is the report of a process that has run tasks.
func tasksReport(t *testing.T, waiting *Waiting, events map[meter.Event]int, took ...time.Duration) []byte {
	t.Helper()
	tasks := NewTasks()
	for e, n := range events {
		for range n {
			tasks.Count(e, "a", "default")
		}
	}
	for _, d := range took {
		tasks.Took(meter.EventSucceeded, "a", d)
	}
	families, err := NewRegistry(Sources{Tasks: tasks, Waiting: waiting}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	text, err := encode(families)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The totals are sums over all slots, their running processes and those that have ended. The
// number of waiting tasks is not added: every process that has it reads the same store.
func TestTotals(t *testing.T) {
	var tally prefork.AppCounters
	for _, code := range []int{200, 404, 500, 503} {
		Requests{&tally}.Count("GET", code, 3*time.Millisecond)
	}
	three, five, gone := 3, 5, 9
	reader := func(n *int) *Waiting { w := &Waiting{}; w.known.Store(n); return w }
	o := prefork.Stats{Slots: []prefork.SlotStats{
		{AppCounters: words(&tally), Reports: [][]byte{tasksReport(t, reader(&three), nil), tasksReport(t, reader(&five), nil)}},
		{AppCounters: words(&tally), Reports: [][]byte{
			tasksReport(t, nil, map[meter.Event]int{meter.EventSucceeded: 2, meter.EventRetried: 1, meter.EventStarted: 9}, time.Millisecond, 2*time.Hour), []byte("nonsense"),
		}, MergedReport: Merge(nil, tasksReport(t, reader(&gone), map[meter.Event]int{meter.EventSucceeded: 1, meter.EventFailed: 3, meter.EventDead: 2}, 20*time.Millisecond))},
		{AppCounters: words(&prefork.AppCounters{})},
	}}
	c := NewCollector(func(context.Context) (prefork.Stats, error) { return o, nil }, nil, "")
	got, err := c.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Requests != 8 || got.Errors != 4 || got.Succeeded != 3 || got.Failed != 5 || got.Retried != 1 {
		t.Errorf("%+v", got)
	}
	if got.Waiting == nil || *got.Waiting != 3 {
		t.Errorf("waiting: %v", got.Waiting)
	}
	if l := got.Latency; len(l.Counts) != len(l.Bounds)+1 || l.Bounds[2] != .005 || l.Counts[2] != 8 {
		t.Errorf("latency: %v", l)
	}
	if d := got.Durations; len(d.Counts) != len(longBounds)+1 || d.Counts[0] != 1 || d.Counts[1] != 1 || d.Counts[len(longBounds)] != 1 {
		t.Errorf("durations: %v", d)
	}
	o.Slots = o.Slots[1:]
	if got, err := c.Totals(t.Context()); err != nil || got.Waiting != nil {
		t.Errorf("without a reader of queues: %v, %v", got.Waiting, err)
	}
	failure := errors.New("no master")
	c = NewCollector(func(context.Context) (prefork.Stats, error) { return o, failure }, nil, "")
	if _, err := c.Totals(t.Context()); !errors.Is(err, failure) {
		t.Error(err)
	}
}

// A process that reads the queues reads them every ten seconds, and less often if that takes
// long.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		w := &Waiting{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		if got := collectedBy(w); got != 0 {
			t.Errorf("before Run: %d metrics", got)
		}
		go func() { ended <- w.Run(ctx, s) }() // ends with cancel
		time.Sleep(35 * time.Second)
		synctest.Wait()
		if s.count() != 4 || *w.known.Load() != 4 || collectedBy(w) != 1 {
			t.Errorf("%d calls, %d metrics", s.count(), collectedBy(w))
		}
		responses := make(chan error, 1)
		responses <- errors.New("gone")
		s.hold(responses)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if collectedBy(w) != 0 {
			t.Error("a metric without a store")
		}
		time.Sleep(10 * time.Second) // a call that lasts until its timeout
		time.Sleep(queuesTimeout)
		calls := s.count()
		time.Sleep(97 * queuesTimeout)
		synctest.Wait()
		if s.count() != calls {
			t.Errorf("%d calls after one that took %v", s.count()-calls, queuesTimeout)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func collectedBy(c prometheus.Collector) (n int) {
	ch := make(chan prometheus.Metric, 10)
	c.Collect(ch)
	return len(ch)
}

var _ driver.Gauger = (*store)(nil)

// BenchmarkTotals is the cost of a reading with 8 processes, which happens every ten seconds.
func BenchmarkTotals(b *testing.B) {
	var o prefork.Stats
	text := process(b, 1, 1, 1)
	families, err := NewRegistry(Sources{Tasks: NewTasks(), Uploads: NewUploads()}).Gather()
	if err != nil {
		b.Fatal(err)
	}
	more, err := encode(families)
	if err != nil {
		b.Fatal(err)
	}
	for range 8 {
		o.Slots = append(o.Slots, prefork.SlotStats{AppCounters: words(&prefork.AppCounters{}), Reports: [][]byte{append(text, more...)}})
	}
	c := NewCollector(func(context.Context) (prefork.Stats, error) { return o, nil }, nil, "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Totals(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
