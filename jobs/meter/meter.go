package meter

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Event is something that happens to tasks and is counted.
type Event string

// The events. Who counts them: the Client the first, the Worker those of an
// attempt, a Store those of attempts that ended without a word.
const (
	EventEnqueued    Event = "enqueued"    // accepted; not the same id once more
	EventStarted     Event = "started"     // an attempt began
	EventSucceeded   Event = "succeeded"   //
	EventFailed      Event = "failed"      // ended with an error, or cancelled
	EventRetried     Event = "retried"     // failed, and will be tried again
	EventRedelivered Event = "redelivered" // its worker was lost, and it is due again
	EventDead        Event = "dead"        // became a dead letter
	EventLeaseLost   Event = "lease_lost"  // a worker learnt that a task is no longer its own
	EventRestored    Event = "restored"    // was in no queue, since keys of the store were deleted, and is again
	EventMissing     Event = "missing"     // its data was deleted from the store before it had ended
)

// Meter is told of what happens. It is called from many goroutines and must
// not block.
type Meter interface {
	Count(e Event, task, queue string)
}

// Stopwatch is told how long each attempt took that a Worker ran to its end, from
// its beginning until the handler had ended. e is Succeeded, Faulted, Retried or
// Buried, task the name of a registered one. It is called as a Meter is.
type Stopwatch interface {
	Took(e Event, task string, took time.Duration)
}

// NoMeter counts nothing.
type NoMeter struct{}

// Count implements Meter.
func (NoMeter) Count(Event, string, string) {}

// Took implements Stopwatch.
func (NoMeter) Took(Event, string, time.Duration) {}

// Other is what Counters call the tasks and queues that came too late to be
// counted by name.
const Other = "other"

// maxSeries bounds the pairs of task and queue that Counters tell apart: a
// queue's name may come from a client.
const maxSeries = 1000

// Counters is a Meter in memory. The zero value is ready.
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

// Counted is one figure of Counters.
type Counted struct {
	Event       Event
	Task, Queue string
	Total       uint64
}

// All returns the figures, sorted by event, task and queue.
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
