package meter

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Event is a kind of event that is counted.
type Event string

// The events. The Client counts EventEnqueued. The worker counts the events of its attempts.
// The store counts the events of lost leases and of deleted data.
const (
	EventEnqueued    Event = "enqueued"    // a task was accepted; counted once for each id
	EventStarted     Event = "started"     // an attempt started
	EventSucceeded   Event = "succeeded"   // a task ended as success
	EventFailed      Event = "failed"      // a task failed or was cancelled
	EventRetried     Event = "retried"     // an attempt failed, and another one follows
	EventRedelivered Event = "redelivered" // a lease was lost, and the task is due again
	EventDead        Event = "dead"        // a task became a dead letter
	EventLeaseLost   Event = "lease_lost"  // a worker noticed that it had lost a lease
	EventRestored    Event = "restored"    // a task was put back into its queue after keys of the store were deleted
	EventMissing     Event = "missing"     // the data of a task was deleted from the store before the task ended
)

// Meter counts events. It is called from many goroutines and must not block.
type Meter interface {
	Count(e Event, task, queue string)
}

// Stopwatch measures attempts. Took is called after each attempt that a worker finished,
// with the time from its start until the handler returned, took. e is EventSucceeded,
// EventFailed, EventRetried or EventDead; task is the name of a registered task. It is
// called from many goroutines and must not block.
type Stopwatch interface {
	Took(e Event, task string, took time.Duration)
}

// NoMeter is a Meter and a Stopwatch that does nothing.
type NoMeter struct{}

// Count implements Meter.
func (NoMeter) Count(Event, string, string) {}

// Took implements Stopwatch.
func (NoMeter) Took(Event, string, time.Duration) {}

// Other is the name of task and queue that Counters use for all further pairs of task and
// queue after the first 1000.
const Other = "other"

// maxSeries is the largest number of pairs of task and queue. It is limited because the
// name of a queue may come from a client.
const maxSeries = 1000

// Counters is a Meter that counts in memory. The zero value is ready to use.
type Counters struct {
	mu     sync.Mutex
	series map[series]map[Event]uint64
}

type series struct{ task, queue string }

// Count implements Meter.
func (c *Counters) Count(e Event, task, queue string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.series == nil {
		c.series = map[series]map[Event]uint64{}
	}
	key := series{task, queue}
	if c.series[key] == nil && len(c.series) >= maxSeries {
		key = series{Other, Other}
	}
	if c.series[key] == nil {
		c.series[key] = map[Event]uint64{}
	}
	c.series[key][e]++
}

// Counted is one count of Counters.
type Counted struct {
	Event       Event
	Task, Queue string
	Total       uint64
}

// All returns the counts, sorted by event, task and queue.
func (c *Counters) All() []Counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Counted
	for key, events := range c.series {
		for _, e := range slices.Collect(maps.Keys(events)) {
			all = append(all, Counted{e, key.task, key.queue, events[e]})
		}
	}
	slices.SortFunc(all, func(a, b Counted) int {
		return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Task, b.Task), cmp.Compare(a.Queue, b.Queue))
	})
	return all
}
