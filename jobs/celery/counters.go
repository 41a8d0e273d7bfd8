package celery

import "sync/atomic"

// Counters count what a Bridge does. Its methods may be called from many goroutines.
type Counters struct{ accepted, rejected, dropped, results atomic.Uint64 }

// Stats are the values of Counters.
type Stats struct {
	Accepted uint64 // messages whose tasks were stored
	Rejected uint64 // messages moved to the list of rejected ones
	Dropped  uint64 // messages that were revoked or had expired
	Results  uint64 // results stored for clients
}

// Stats returns the present values.
func (c *Counters) Stats() Stats {
	return Stats{c.accepted.Load(), c.rejected.Load(), c.dropped.Load(), c.results.Load()}
}
