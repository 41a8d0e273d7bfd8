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

// master is the value of the label slot for the master.
const master = "master"

// Collector gathers the metrics of all processes of a server. It runs in the master.
type Collector struct {
	figures func(context.Context) (prefork.Stats, error)
	queues  *Queues
	version string
	own     *prometheus.Registry
}

// NewCollector returns a Collector. figures returns the data that the master has. queues
// may be nil: there are then no metrics of queues.
func NewCollector(figures func(context.Context) (prefork.Stats, error), queues *Queues, version string) *Collector {
	return &Collector{figures, queues, version, NewRegistry(Sources{})}
}

// ObserveStatsd adds the metric of -statsd. up reports whether the last transmission succeeded.
// Call it before Gather.
func (c *Collector) ObserveStatsd(up func() bool) {
	c.own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gale_statsd_up", Help: "1 if the last transmission to -statsd succeeded.",
	}, func() float64 { return float64(one(up())) }))
}

// Gather returns all metrics, sorted by name, or only those with some names, which costs less:
// the task store is then read only for metrics of queues, and the reports of children are not
// decoded as a whole. It waits for the task store as described at
// Queues, and no longer than ctx. An error together with metrics means that the report of
// a child cannot be read. An error without metrics means that the master did not respond.
func (c *Collector) Gather(ctx context.Context, names ...string) ([]*dto.MetricFamily, error) {
	o, err := c.figures(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.ofMaster(ctx, o, names)
	if err != nil {
		return nil, err
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range all {
		byName[f.GetName()] = f
	}
	var unread error
	if wanted(names, "go_", "process_", "gale_statsd_up") {
		var own []*dto.MetricFamily
		own, unread = c.own.Gather()
		own = slices.DeleteFunc(own, func(f *dto.MetricFamily) bool { return resetsOnReload(f) || ofNetworkNamespace(f) })
		join(byName, own, master)
	}
	for _, s := range o.Slots {
		families, err := slotSum(s.Reports, s.MergedReport, names...)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("%s: %w", s.Slot, err))
		}
		join(byName, families, s.Slot)
	}
	all = all[:0]
	for name, f := range byName {
		if len(names) == 0 || slices.Contains(names, name) {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all, unread
}

// ofMaster returns the metrics of slots that the master has, and those of queues.
func (c *Collector) ofMaster(ctx context.Context, o prefork.Stats, names []string) ([]*dto.MetricFamily, error) {
	fresh := prometheus.NewRegistry()
	if err := fresh.Register(overview{o, c.version}); err != nil {
		return nil, err
	}
	if c.queues != nil && wanted(names, "gale_queue", "gale_tasks_unclaimed", "gale_task_store_ready") {
		depths, ok := c.queues.Latest(ctx)
		if err := fresh.Register(queueCollector{depths, ok, ok && c.queues.Trouble(ctx) == nil}); err != nil {
			return nil, err
		}
	}
	return fresh.Gather()
}

// wanted reports whether a name begins with one of the prefixes, or all metrics are wanted.
func wanted(names []string, prefixes ...string) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
}

// resetsOnReload reports whether a metric is a counter of the Go runtime. A reload resets
// the master's, although its process stays the same.
func resetsOnReload(f *dto.MetricFamily) bool {
	return strings.HasPrefix(f.GetName(), "go_") && f.GetType() != dto.MetricType_GAUGE
}

// join adds the metrics of a slot to all, with the label slot. Of the durations of requests a
// child has only the exemplars.
func join(all map[string]*dto.MetricFamily, families []*dto.MetricFamily, slot string) {
	for _, f := range families {
		if f.GetName() == requestDurationName {
			addExemplars(all[requestDurationName], f, slot)
			continue
		}
		for _, m := range f.Metric {
			m.Label = append(m.Label, &dto.LabelPair{Name: new("slot"), Value: new(slot)})
			slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		}
		had := all[f.GetName()]
		switch {
		case had == nil:
			all[f.GetName()] = f
		case agree(had, f): // else the child is of another release and will be replaced
			had.Metric = append(had.Metric, f.Metric...)
		}
	}
}

const (
	requestDurationName = "gale_http_request_duration_seconds"
	requestDurationHelp = "Time from the end of a request's head until its response is complete, before it is written."
)

var (
	requests      = desc("gale_http_requests_total", "Requests with a response.", "slot", "method", "code")
	duration      = desc(requestDurationName, requestDurationHelp, "slot")
	connections   = desc("gale_connections", "Open connections.", "slot")
	accepted      = desc("gale_connections_accepted_total", "Connections accepted from the slot's own listener.", "slot")
	adopted       = desc("gale_connections_adopted_total", "Connections accepted from the listeners of other slots that did not accept them.", "slot")
	acceptQueue   = desc("gale_accept_queue", "Connections in the accept queue of the slot's listener.", "slot")
	slotState     = desc("gale_slot_state", "1 for the present state of the slot, else 0.", "slot", "state")
	processes     = desc("gale_slot_processes_total", "Processes started in the slot.", "slot")
	restarts      = desc("gale_slot_restarts_total", "Processes of the slot that ended without being stopped.", "slot")
	hangs         = desc("gale_slot_hangs_total", "Processes of the slot that were killed because they sent no heartbeat.", "slot")
	reloads       = desc("gale_reloads_total", "Reloads by outcome: done, or refused without a change.", "outcome")
	reloadFailed  = desc("gale_reload_failed", "1 if the last reload was refused or has not reached every slot.")
	buildInfo     = desc("gale_build_info", "Always 1; its labels are the versions of the master and of Go.", "version", "go")
	storeReady    = desc("gale_task_store_ready", "1 if the task store accepts tasks.")
	queueBroken   = desc("gale_queue_broken", "1 if the task store cannot serve the queue.", "queue")
	queuesUp      = desc("gale_queues_up", "1 if the metrics of queues are available.")
	queueTasks    = desc("gale_queue_tasks", "Tasks in the queue by state.", "queue", "state")
	queuePaused   = desc("gale_queue_paused", "1 if the queue is paused.", "queue")
	unclaimed     = desc("gale_tasks_unclaimed", "Waiting tasks that no live worker can run.", "queue")
	oldestWaiting = desc("gale_queue_oldest_seconds", "Time that the oldest waiting task of the queue has been due.", "queue")
)

// overview collects the metrics that the master has of its slots.
type overview struct {
	prefork.Stats
	version string
}

// Describe implements prometheus.Collector; see poolCollector.
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
