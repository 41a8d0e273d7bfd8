package server

import (
	"errors"
	"net/netip"
	"sync"
)

// Reasons to refuse a connection.
var (
	errTooManyConns       = errors.New("too many connections")
	errTooManyClientConns = errors.New("too many connections from one client")
)

// conns holds the connections that Run waits for: all that are not hijacked. It also
// enforces the limits, which count hijacked connections too.
type conns struct {
	mu      sync.Mutex
	open    map[*conn]struct{}
	drained chan struct{} // closed when open is empty; nil before wait

	max, maxPerClient int                // limits; 0 means none
	total             int                // open and hijacked connections
	clients           map[netip.Addr]int // connections of each client address
}

// add registers c. If that would exceed a limit, it returns errTooManyConns or
// errTooManyClientConns.
func (cs *conns) add(c *conn) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.max > 0 && cs.total >= cs.max {
		return errTooManyConns
	}
	if cs.countsPerClient(c.origin) {
		if cs.clients[c.peer] >= cs.maxPerClient {
			return errTooManyClientConns
		}
		cs.clients[c.peer]++
	}
	cs.total++
	cs.open[c] = struct{}{}
	return nil
}

// origin is the other end of a connection.
type origin struct {
	peer    netip.Addr // zero if this is not a TCP connection
	trusted bool       // the peer is one of Options.TrustedProxies
}

// countsPerClient reports whether a connection counts for the limit of its client address. A
// trusted proxy does not, since its connections belong to many clients.
func (cs *conns) countsPerClient(o origin) bool { return cs.maxPerClient > 0 && !o.trusted }

// remove makes Run stop waiting for c. It may be called more than once.
func (cs *conns) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.open[c]; !ok {
		return
	}
	delete(cs.open, c)
	if len(cs.open) == 0 && cs.drained != nil {
		close(cs.drained)
		cs.drained = nil
	}
}

// release stops counting a connection, which is closed, for the limits. It must be called
// exactly once. Run still waits for the connection until remove is called.
func (cs *conns) release(o origin) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.total--
	if !cs.countsPerClient(o) {
		return
	}
	if cs.clients[o.peer]--; cs.clients[o.peer] == 0 {
		delete(cs.clients, o.peer)
	}
}

// wait returns a channel that is closed when no connection is left. add must not be
// called after wait.
func (cs *conns) wait() <-chan struct{} {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	none := make(chan struct{})
	if len(cs.open) == 0 {
		close(none)
	} else {
		cs.drained = none
	}
	return none
}

// interruptReads makes blocked reads use the deadlines of a drain, and ends the contexts
// of event streams.
func (cs *conns) interruptReads() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.interruptRead()
		if x := c.exchange.Load(); x != nil {
			x.drain()
		}
	}
}

// closeAll closes the remaining connections, even while their handlers run. It returns
// how many of them had a request in flight.
func (cs *conns) closeAll() (requests int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if !c.betweenRequests() && !c.closed.Load() {
			requests++
		}
		if x := c.exchange.Load(); x != nil {
			x.cancel(ErrGrace)
		}
		_ = c.Conn.Close()
	}
	return requests
}
