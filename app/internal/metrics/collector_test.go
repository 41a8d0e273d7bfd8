package metrics

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/prefork"
)

func TestCollectorJoinsTheSlots(t *testing.T) {
	var tally prefork.AppCounters
	Requests{&tally}.Count("GET", 200, time.Millisecond)
	slot := func(name string, state prefork.State) prefork.SlotStats {
		return prefork.SlotStats{
			SlotStatus: prefork.SlotStatus{Slot: name, State: state, Generation: 3, Restarts: 2, Connections: 4, AcceptQueue: 5},
			Accepted:   6, Adopted: 7, Hangs: 1, AppCounters: words(&tally), MergedReport: Merge(nil, process(t, 10, 0, 0)),
		}
	}
	o := prefork.Stats{Slots: []prefork.SlotStats{slot("serve.0", prefork.StateLive), slot("serve.1", prefork.StateStopped)}, Reloads: 2, RefusedReloads: 1, ReloadFailed: "why"}
	o.Slots[0].Reports = [][]byte{process(t, 1, 1, 1)}
	c := NewCollector(func(context.Context) (prefork.Stats, error) { return o, nil }, nil, "test 1")
	families, err := c.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := text(t, families)
	for _, line := range []string{
		`gale_http_requests_total{code="200",method="GET",slot="serve.0"} 1`,
		`gale_http_requests_total{code="200",method="GET",slot="serve.1"} 1`,
		`gale_http_request_duration_seconds_count{slot="serve.1"} 1`,
		`gale_connections{slot="serve.0"} 4`,
		`gale_accept_queue{slot="serve.0"} 5`,
		`gale_connections_accepted_total{slot="serve.0"} 6`,
		`gale_connections_adopted_total{slot="serve.0"} 7`,
		`gale_slot_state{slot="serve.0",state="live"} 1`,
		`gale_slot_state{slot="serve.0",state="hung"} 0`,
		`gale_slot_state{slot="serve.1",state="stopped"} 1`,
		`gale_slot_processes_total{slot="serve.0"} 3`,
		`gale_slot_restarts_total{slot="serve.0"} 2`,
		`gale_slot_hangs_total{slot="serve.0"} 1`,
		`gale_reloads_total{outcome="done"} 2`,
		`gale_reloads_total{outcome="refused"} 1`,
		`gale_reload_failed 1`,
		`done_total{slot="serve.0"} 11`,
		`done_total{slot="serve.1"} 10`,
		`by_kind_total{kind="a",slot="serve.0"} 11`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !strings.Contains(got, `go_goroutines{slot="master"}`) || strings.Contains(got, `go_memstats_mallocs_total{slot="master"}`) {
		t.Error("the master's own figures: its gauges are wanted, and no counter that a reload sets back")
	}
	if t.Failed() {
		t.Log(got)
	}
	families, err = c.Gather(t.Context(), "done_total", "gale_connections", "process_start_time_seconds", "unknown")
	if err != nil || len(families) != 3 || !strings.Contains(text(t, families), `done_total{slot="serve.0"} 11`) {
		t.Errorf("by name: %v\n%s", err, text(t, families))
	}
	o.Slots[0].Reports = [][]byte{[]byte("nonsense")}
	if families, err := c.Gather(t.Context()); err == nil || len(families) == 0 {
		t.Errorf("with a report that cannot be read: %d families, %v", len(families), err)
	}
	gone := errors.New("gone")
	c = NewCollector(func(context.Context) (prefork.Stats, error) { return o, gone }, nil, "")
	if families, err := c.Gather(t.Context()); families != nil || !errors.Is(err, gone) {
		t.Errorf("without a master: %v, %v", families, err)
	}
}

// store is a task store that responds when the test lets it.
type store struct {
	mu       sync.Mutex
	calls    int
	response chan error // nil: at once
	closed   bool
}

// hold makes calls wait for an error from responses.
func (s *store) hold(responses chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.response = responses
}

// count returns the number of calls.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *store) Depth(ctx context.Context) ([]driver.Depth, error) {
	s.mu.Lock()
	s.calls++
	depths, response := []driver.Depth{{Queue: "default", Waiting: s.calls}}, s.response
	s.mu.Unlock()
	if response == nil {
		return depths, nil
	}
	select {
	case err := <-response:
		return depths, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *store) Close() error { s.closed = true; return nil }

func TestQueuesAreAskedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, opens := &store{}, 0
		q := NewQueues(func(context.Context) (Store, error) {
			if opens++; opens == 1 {
				return nil, errors.New("there is none yet")
			}
			return s, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		if _, ok := q.Latest(ctx); ok {
			t.Error("before Run: Latest returned a result")
		}
		go func() { ended <- q.Run(ctx) }() // ends with ctx
		synctest.Wait()
		if depths, ok := q.Latest(ctx); !ok || depths[0].Waiting != 1 || opens != 2 {
			t.Errorf("%v, %v after %d opens", depths, ok, opens)
		}
		time.Sleep(queuesFresh / 2)
		if depths, ok := q.Latest(ctx); !ok || depths[0].Waiting != 1 {
			t.Errorf("half a second later: %v, %v", depths, ok)
		}
		time.Sleep(queuesFresh)
		var readers sync.WaitGroup
		for range 5 {
			readers.Go(func() { // ends with the result of Latest
				if depths, ok := q.Latest(ctx); !ok || depths[0].Waiting != 2 {
					t.Errorf("then: %v, %v", depths, ok)
				}
			})
		}
		readers.Wait()

		// A store that does not respond delays Latest only for a short time.
		responses := make(chan error)
		s.hold(responses)
		time.Sleep(queuesFresh)
		began := time.Now()
		if _, ok := q.Latest(ctx); ok || time.Since(began) != queuesPatience {
			t.Errorf("a store that hangs: %v after %v", ok, time.Since(began))
		}
		responses <- nil
		synctest.Wait()
		if depths, ok := q.Latest(ctx); !ok || depths[0].Waiting != 3 {
			t.Errorf("when it has come back: %v, %v", depths, ok)
		}
		cancel()
		if err := <-ended; err != nil || !s.closed {
			t.Errorf("%v, closed %v", err, s.closed)
		}
	})
}

// reporter records reports.
type reporter struct {
	mu      sync.Mutex
	reports [][]byte
	err     error
}

func (r *reporter) all() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.reports)
}

func (r *reporter) Report(text []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, text)
	return r.err
}

type countedGatherer struct {
	prometheus.Gatherer
	reads atomic.Int32
}

func (g *countedGatherer) Gather() ([]*dto.MetricFamily, error) {
	g.reads.Add(1)
	return g.Gatherer.Gather()
}

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, tasks := NewUploads(), NewTasks()
		sources := Sources{Pools: map[string]*pool.Pool{"handlers": pool.New(pool.Options{Workers: 3})}, Uploads: files, Tasks: tasks}
		g := &countedGatherer{Gatherer: NewRegistry(sources)}
		r := &reporter{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Publish(ctx, r, g, sources, slog.New(slog.DiscardHandler)) }() // ends with ctx
		synctest.Wait()
		sent := func(want int) {
			t.Helper()
			time.Sleep(publishIdle)
			synctest.Wait()
			if n := len(r.all()); n != want {
				t.Errorf("%d reports, want %d", n, want)
			}
		}
		sent(1) // nothing has changed since the first
		reads := g.reads.Load()
		time.Sleep(10 * keepFor)
		synctest.Wait()
		if n := g.reads.Load() - reads; n < 9 || n > 11 {
			t.Errorf("an idle process has read its metrics %d times in %v", n, 10*keepFor)
		}
		n := len(r.all())
		files.FileBegan()
		sent(n + 1)
		files.FileWrote(70)
		files.FileEnded(200, 2*time.Second)
		tasks.Count(meter.EventStarted, "inspect", "default")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		families, err := decode(r.reports[len(r.reports)-1])
		got := text(t, families)
		for _, line := range []string{
			`gale_pool_workers{pool="handlers"} 3`, `gale_upload_bytes_total 70`, `gale_upload_files_total{code="200"} 1`,
			`gale_upload_duration_seconds_sum{code="200"} 2`, `gale_upload_duration_seconds_bucket{code="200",le="2.5"} 1`, `gale_uploads_running 0`,
			`gale_task_events_total{event="started",queue="default",task="inspect"} 1`,
		} {
			if !strings.Contains(got, line+"\n") {
				t.Errorf("no line %s in the last report: %v", line, err)
			}
		}
		if !strings.Contains(got, "go_goroutines ") || !strings.Contains(got, "process_cpu_seconds_total ") {
			t.Error("nothing of the Go runtime or of the process")
		}
		if strings.Contains(got, "process_network_") {
			t.Error("each process tells the figures of the whole machine")
		}
	})
}
