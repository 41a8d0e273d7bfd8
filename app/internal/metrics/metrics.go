// Package metrics collects the metrics of all processes of a server for Prometheus.
//
// Metrics reach the master in two ways. In both, the master serves /metrics from its own
// memory and does not wait for another process:
//
//	request ─► Requests ──► the slot's tally, words of shared memory ─────┐
//	                        exact, through kill -9 and reloads            │
//	pools, uploads, tasks, ─► a registry ─► Publish, every half second ─┐ │
//	long connections, cache   per child     of work, and at the end     │ │
//	Go runtime, process                                                 │ │
//	                                        ┌───────────────────────────▼─▼┐
//	queues of the task store ─► Queues ────►│ Collector, in the master     │
//	once a second per master                └──────────────────────────────┘
//
// The metrics of a slot are the sums over its running processes and those that have ended.
// A new process starts at zero, but the counters of its slot never decrease while the
// master runs. The label is slot, never pid.
package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/app/internal/otlp"
	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs/celery"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

const (
	// publishEvery is the interval at which a child publishes its metrics.
	publishEvery = 500 * time.Millisecond
	// publishIdle is the interval at which an idle child looks whether it has worked.
	publishIdle = time.Second
)

// Sources are the counters of a child, besides those of requests. Every field may be nil.
type Sources struct {
	Pools   map[string]*pool.Pool // by purpose
	Uploads *Uploads
	Tasks   *Tasks
	// Realtime counts long-lived connections and lost messages of channels.
	Realtime *realtime.Counters
	Refused  *Refused
	// Limit counts the calls of the application's rate limiters.
	Limit *limit.Counters
	// Cache counts the calls of the application's cache.
	Cache *cache.Counters
	// Program counts what a worker program does.
	Program *Program
	// Celery counts the messages of Celery clients.
	Celery *celery.Counters
	// Traces counts the spans that are sent to a Collector.
	Traces *otlp.Counters
	// Waiting reads the number of waiting tasks.
	Waiting *Waiting
}

// NewRegistry returns the registry of a process: its sources, and metrics of the Go
// runtime and of the process.
func NewRegistry(s Sources) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&kept{Collector: collectors.NewGoCollector()},
		&kept{Collector: collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})})
	if len(s.Pools) > 0 {
		r.MustRegister(poolCollector(s.Pools))
	}
	if s.Uploads != nil {
		r.MustRegister(uploadCollector{s.Uploads})
	}
	if s.Tasks != nil {
		r.MustRegister(taskCollector{s.Tasks})
	}
	if s.Realtime != nil {
		r.MustRegister(realtimeCollector{s.Realtime})
	}
	if s.Refused != nil {
		r.MustRegister(s.Refused)
	}
	if s.Limit != nil {
		r.MustRegister(limitCollector{s.Limit})
	}
	if s.Cache != nil {
		r.MustRegister(cacheCollector{s.Cache})
	}
	if s.Program != nil {
		r.MustRegister(programCollector{s.Program})
	}
	if s.Celery != nil {
		r.MustRegister(celeryCollector{s.Celery})
	}
	if s.Traces != nil {
		r.MustRegister(traceCollector{s.Traces})
	}
	if s.Waiting != nil {
		r.MustRegister(s.Waiting)
	}
	return r
}

// State returns text that is different after an event that the sources count. To compare it costs
// much less than to read the metrics. Two rare counters are not part of it: requests to object
// storage without an upload, and spans.
func (s Sources) State() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.Pools)) {
		fmt.Fprintln(&b, name, s.Pools[name].Stats())
	}
	if s.Uploads != nil {
		fmt.Fprintln(&b, s.Uploads.Stats())
	}
	if s.Tasks != nil {
		fmt.Fprintln(&b, s.Tasks.All())
	}
	if s.Realtime != nil {
		fmt.Fprintln(&b, s.Realtime.Stats())
	}
	if s.Refused != nil {
		fmt.Fprintln(&b, s.Refused.server.Load(), s.Refused.client.Load())
	}
	if s.Limit != nil {
		fmt.Fprintln(&b, s.Limit.Granted.Load(), s.Limit.Refused.Load(), s.Limit.Errors.Load())
	}
	if s.Cache != nil {
		fmt.Fprintln(&b, s.Cache.Hits.Load(), s.Cache.Misses.Load(), s.Cache.Errors.Load())
	}
	if s.Program != nil {
		fmt.Fprintln(&b, s.Program.Memory.Load(), s.Program.DroppedLines.Load())
	}
	if s.Celery != nil {
		fmt.Fprintln(&b, s.Celery.Stats())
	}
	if s.Waiting != nil {
		if n := s.Waiting.known.Load(); n != nil {
			fmt.Fprintln(&b, *n)
		}
	}
	return b.String()
}

// Reporter receives the encoded metrics of a process. It is implemented by *prefork.Child.
type Reporter interface{ Report(text []byte) error }

// Publish reports the metrics of g immediately, every half second while they change, and a
// last time when ctx is done. While the state of s does not change, it reads them only every
// five seconds, for the metrics of the process and of the application. g has the metrics of s
// too. The caller ends ctx after the last event to count. Publish returns nil.
func Publish(ctx context.Context, r Reporter, g prometheus.Gatherer, s Sources, log *slog.Logger) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	logged := false
	var last []byte
	publish := func() {
		text, err := collect(g)
		if err == nil && bytes.Equal(text, last) {
			return
		}
		if err == nil {
			err = r.Report(text)
		}
		if err == nil {
			last = text
		}
		if err != nil && !logged && !errors.Is(err, prefork.ErrNoReports) {
			log.Warn("cannot publish metrics, /metrics lacks those of this process", "error", err)
			logged = true
		}
	}
	var state string
	var read time.Time // zero: not yet
	for {
		pause, now := publishIdle, time.Now()
		if next := s.State(); next != state || now.Sub(read) >= keepFor-publishIdle/2 {
			if next != state {
				pause = publishEvery
			}
			state, read = next, now
			publish()
		}
		timer.Reset(sleep.Align(pause))
		select {
		case <-ctx.Done():
			publish()
			return nil
		case <-timer.C:
		}
	}
}

// ofNetworkNamespace reports whether a metric describes the network namespace. All processes
// share it, so its sum over the processes would be wrong.
func ofNetworkNamespace(f *dto.MetricFamily) bool {
	return strings.HasPrefix(f.GetName(), "process_network_")
}

func collect(g prometheus.Gatherer) ([]byte, error) {
	families, err := g.Gather()
	if err != nil {
		return nil, err
	}
	return encode(slices.DeleteFunc(families, ofNetworkNamespace))
}
