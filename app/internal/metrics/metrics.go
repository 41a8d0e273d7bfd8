// Package metrics is what a Gale server tells Prometheus of itself.
//
// Figures go two ways, and neither waits for a process: the master answers
// /metrics from memory alone.
//
//	request ─► Requests ──► the slot's tally, words of shared memory ─────┐
//	                        exact, through kill -9 and reloads            │
//	pools, uploads, tasks, ─► a registry ─► Publish, every half second ─┐ │
//	long connections, cache   per child     and at the end              │ │
//	Go runtime, process                                                 │ │
//	                                        ┌───────────────────────────▼─▼┐
//	queues of the task store ─► Queues ────►│ Collector, in the master     │
//	once a second per master                └──────────────────────────────┘
//
// A slot's figures are those of its living processes and the sum of those that
// are gone, so no sum falls while the master lives: a new process counts from
// nothing, its slot does not. The label is slot, never pid.
package metrics

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

// publishEvery is how often a child publishes its registry.
const publishEvery = 500 * time.Millisecond

// Sources are what a child counts beside requests. The zero value of a field
// is: it does not.
type Sources struct {
	Pools   map[string]*pool.Pool // by what they are for
	Uploads *Uploads
	Tasks   *Tasks
	// Realtime counts connections that live long and what channels lose.
	Realtime *realtime.Counters
	Refused  *Refused
	// Limit counts what limiters of the application are asked, Cache what its cache is.
	Limit *limit.Counters
	Cache *cache.Counters
}

// NewRegistry makes the registry of a process: its sources, the Go runtime and
// what the kernel says of the process.
func NewRegistry(s Sources) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
	return r
}

// Reporter takes what a process has to say of itself, as *prefork.Child does.
type Reporter interface{ Report(text []byte) error }

// Publish reports what g gathers, at once, every half second, and once more when
// ctx has ended, which should be when there is nothing left to be counted. It
// returns nil.
func Publish(ctx context.Context, r Reporter, g prometheus.Gatherer, log *slog.Logger) error {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	told := false
	publish := func() {
		err := report(r, g)
		if err != nil && !told && !errors.Is(err, prefork.ErrNoReports) {
			log.Warn("metrics cannot be published", "error", err)
			told = true
		}
	}
	for {
		publish()
		select {
		case <-ctx.Done():
			publish()
			return nil
		case <-tick.C:
		}
	}
}

// ofTheMachine tells figures that a process reads of its network namespace,
// which each of them would tell again.
func ofTheMachine(f *dto.MetricFamily) bool {
	return strings.HasPrefix(f.GetName(), "process_network_")
}

func report(r Reporter, g prometheus.Gatherer) error {
	families, err := g.Gather()
	if err != nil {
		return err
	}
	families = slices.DeleteFunc(families, ofTheMachine)
	text, err := encode(families)
	if err != nil {
		return err
	}
	return r.Report(text)
}
