package server

import (
	"errors"
	"net/netip"
	"sync"
)

// Why a connection is refused.
var (
	errTooManyConns = errors.New("too many connections")
	errClientsConns = errors.New("too many connections of one client")
)

// conns are the connections of a Server that are not hijacked: Run waits for
// them. It keeps the limits, which count the hijacked ones too.
type conns struct {
	mu   sync.Mutex
	open map[*conn]struct{}
	none chan struct{} // made by wait, closed when open is empty

	most, mostPerClient int // limits; 0 is none
	held                int // open and hijacked connections
	clients             map[netip.Addr]int
}

// add takes a connection in, unless that would be one too many.
func (cs *conns) add(c *conn) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.most > 0 && cs.held >= cs.most {
		return errTooManyConns
	}
	if cs.perClient(c) {
		if cs.clients[c.peer] >= cs.mostPerClient {
			return errClientsConns
		}
		cs.clients[c.peer]++
	}
	cs.held++
	cs.open[c] = struct{}{}
	return nil
}

// perClient reports whether c counts for its client: a proxy has many.
func (cs *conns) perClient(c *conn) bool { return cs.mostPerClient > 0 && !c.trusted }

// remove makes Run not wait for c any more. It may be called again for the same
// connection.
func (cs *conns) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.open[c]; !ok {
		return
	}
	delete(cs.open, c)
	if len(cs.open) == 0 && cs.none != nil {
		close(cs.none)
		cs.none = nil
	}
}

// leave gives back the place of c, which is closed. It must be called once.
// Run waits for c until remove is called.
func (cs *conns) leave(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.held--
	if !cs.perClient(c) {
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
		cs.none = none
	}
	return none
}

func (cs *conns) nudge() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.nudge()
		if x := c.exchange.Load(); x != nil {
			x.drain()
		}
	}
}

// cut closes what is left under its handlers and returns in how many cases that
// was more than a client that had asked nothing.
func (cs *conns) cut() (requests int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if !c.waits() && !c.closed.Load() {
			requests++
		}
		if x := c.exchange.Load(); x != nil {
			x.cancel(ErrGrace)
		}
		_ = c.Conn.Close()
	}
	return requests
}
