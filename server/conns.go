package server

import (
	"errors"
	"net/netip"
	"sync"
)

// Why a connection is refused.
var (
	errTooManyConns       = errors.New("too many connections")
	errTooManyClientConns = errors.New("too many connections of one client")
)

// conns are the connections of a Server that are not hijacked: Run waits for
// them. It keeps the limits, which count the hijacked ones too.
type conns struct {
	mu      sync.Mutex
	open    map[*conn]struct{}
	drained chan struct{} // made by wait, closed when open is empty

	max, maxPerClient int // limits; 0 is none
	total             int // open and hijacked connections
	clients           map[netip.Addr]int
}

// add takes a connection in, unless that would be one too many.
func (cs *conns) add(c *conn) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.max > 0 && cs.total >= cs.max {
		return errTooManyConns
	}
	if cs.countsPerClient(c) {
		if cs.clients[c.peer] >= cs.maxPerClient {
			return errTooManyClientConns
		}
		cs.clients[c.peer]++
	}
	cs.total++
	cs.open[c] = struct{}{}
	return nil
}

// perClient reports whether c counts for its client: a proxy has many.
func (cs *conns) countsPerClient(c *conn) bool { return cs.maxPerClient > 0 && !c.trusted }

// remove makes Run not wait for c any more. It may be called again for the same
// connection.
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

// leave gives back the place of c, which is closed. It must be called once.
// Run waits for c until remove is called.
func (cs *conns) release(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.total--
	if !cs.countsPerClient(c) {
		return
	}
	if cs.clients[c.peer]--; cs.clients[c.peer] == 0 {
		delete(cs.clients, c.peer)
	}
}

// wait returns a channel that is closed when no connection is left. None must
// be added any more.
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

// cut closes what is left under its handlers and returns in how many cases that
// was more than a client that had asked nothing.
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
