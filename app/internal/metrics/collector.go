package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/prefork"
)

// master is the value of the label slot for the master itself.
const master = "master"

// Collector answers for all processes of a server, in its master.
type Collector struct {
	figures func(context.Context) (prefork.Stats, error)
	queues  *Queues
	version string
	own     *prometheus.Registry
}

// NewCollector makes a Collector of what the master has counted. queues may be
// nil: then nobody is asked.
func NewCollector(figures func(context.Context) (prefork.Stats, error), queues *Queues, version string) *Collector {
	return &Collector{figures, queues, version, NewRegistry(Sources{})}
}

// Gather returns all figures, the families by name. It waits at most for ctx and
// for the task store, see Queues. An error together with families concerns a
// report of a child that cannot be read; without, the master has not answered.
func (c *Collector) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	o, err := c.figures(ctx)
	if err != nil {
		return nil, err
	}
	fresh := prometheus.NewRegistry()
	if err := fresh.Register(overview{o, c.version}); err != nil {
		return nil, err
	}
	if c.queues != nil {
		depths, ok := c.queues.Latest(ctx)
		if err := fresh.Register(queueCollector{depths, ok, ok && c.queues.Trouble(ctx) == nil}); err != nil {
			return nil, err
		}
	}
	all, err := fresh.Gather()
	if err != nil {
		return nil, err
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range all {
		byName[f.GetName()] = f
	}
	own, unread := c.own.Gather()
	own = slices.DeleteFunc(own, func(f *dto.MetricFamily) bool { return endsWithARelease(f) || ofTheMachine(f) })
	join(byName, own, master)
	for _, s := range o.Slots {
		families, err := slotSum(s.Reports, s.MergedReport)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("%s: %w", s.Slot, err))
		}
		join(byName, families, s.Slot)
	}
	all = all[:0]
	for _, f := range byName {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all, unread
}

// endsWithARelease tells the counters of the Go runtime: those of the master
// begin anew with every reload, while its process goes on.
func endsWithARelease(f *dto.MetricFamily) bool {
	return strings.HasPrefix(f.GetName(), "go_") && f.GetType() != dto.MetricType_GAUGE
}

// join adds a slot's families to those of all.
func join(all map[string]*dto.MetricFamily, families []*dto.MetricFamily, slot string) { //nolint:unparam // it does not know new(slot)
	for _, f := range families {
		for _, m := range f.Metric {
			m.Label = append(m.Label, &dto.LabelPair{Name: new("slot"), Value: new(slot)})
			slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		}
		had := all[f.GetName()]
		switch {
		case had == nil:
			all[f.GetName()] = f
		case agree(had, f): // else of another release, and soon gone
			had.Metric = append(had.Metric, f.Metric...)
		}
	}
}

var (
	requests      = desc("gale_http_requests_total", "Requests answered.", "slot", "method", "code")
	duration      = desc("gale_http_request_duration_seconds", "From the end of a request's head to the moment its answer was decided.", "slot")
	connections   = desc("gale_connections", "Connections that are open now.", "slot")
	accepted      = desc("gale_connections_accepted_total", "Connections taken from the slot's own socket.", "slot")
	adopted       = desc("gale_connections_adopted_total", "Connections taken from the sockets of siblings that could not.", "slot")
	acceptQueue   = desc("gale_accept_queue", "Connections that wait in the slot's socket now.", "slot")
	slotState     = desc("gale_slot_state", "1 for the state that the slot is in.", "slot", "state")
	processes     = desc("gale_slot_processes_total", "Processes that the slot has had.", "slot")
	restarts      = desc("gale_slot_restarts_total", "Processes of the slot that died by themselves.", "slot")
	hangs         = desc("gale_slot_hangs_total", "Processes of the slot that were killed because they hung.", "slot")
	reloads       = desc("gale_reloads_total", "Reloads by what became of them: done, or refused, which changed nothing.", "outcome")
	reloadFailed  = desc("gale_reload_failed", "1 if the last reload changed nothing or has not reached every slot.")
	buildInfo     = desc("gale_build_info", "1, labelled with the master's release.", "version", "go")
	storeReady    = desc("gale_task_store_ready", "1 if the task store takes tasks.")
	queueBroken   = desc("gale_queue_broken", "1 if the task store cannot serve the queue.", "queue")
	queuesUp      = desc("gale_queues_up", "1 if the task store said how much waits in it.")
	queueTasks    = desc("gale_queue_tasks", "Tasks in the queue now.", "queue", "state")
	queuePaused   = desc("gale_queue_paused", "1 if nothing is taken from the queue.", "queue")
	oldestWaiting = desc("gale_queue_oldest_seconds", "How long the oldest task that waits has been due.", "queue")
)

// overview renders what the master knows.
type overview struct {
	prefork.Stats
	version string
}

// Describe says nothing, see poolCollector.
func (overview) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (o overview) Collect(ch chan<- prometheus.Metric) {
	for _, s := range o.Slots {
		for key, n := range requestsOf(s.AppCounters) {
			counter(ch, requests, n, s.Slot, key[0], key[1])
		}
		if count, sum, upTo := durationsOf(s.AppCounters); count > 0 {
			ch <- prometheus.MustNewConstHistogram(duration, count, sum, upTo, s.Slot)
		}
		gauge(ch, connections, s.Connections, s.Slot)
		counter(ch, accepted, s.Accepted, s.Slot)
		counter(ch, adopted, s.Adopted, s.Slot)
		gauge(ch, acceptQueue, s.AcceptQueue, s.Slot)
		counter(ch, processes, s.Generation, s.Slot)
		counter(ch, restarts, s.Restarts, s.Slot)
		counter(ch, hangs, s.Hangs, s.Slot)
		for _, state := range prefork.States() {
			gauge(ch, slotState, one(s.State == state), s.Slot, string(state))
		}
	}
	counter(ch, reloads, o.Reloads, "done")
	counter(ch, reloads, o.RefusedReloads, "refused")
	gauge(ch, reloadFailed, one(o.ReloadFailed != ""))
	gauge(ch, buildInfo, 1, o.version, runtime.Version())
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
