package realtime

import (
	"context"
	"fmt"
	"sync"

	"github.com/galeserver/gale/internal/epoll"
)

// parking holds the connections that wait for their next frame without a goroutine. One
// goroutine waits for all of them, and starts a goroutine for each that has bytes to read.
//
//	handshake ──► parked ──readable──► goroutine: frames ──nothing left──► parked
//	                 └─────reset─────► goroutine: shutdown
//
// Connections that cannot be watched (see server.Taken.CanWatch) keep their goroutine.
type parking struct {
	slots chan struct{} // one element for each goroutine that has not yet released its slot

	mu     sync.Mutex
	set    *epoll.Set       // nil before run and after it
	lastID uint64           // a new id for each time that a connection is parked
	conns  map[uint64]*Conn // parked connections by id
}

// begin allows connections to park. The returned function waits for them until ctx ends.
func (p *parking) begin() (run func(ctx context.Context), err error) {
	set, err := epoll.Open()
	if err != nil {
		return nil, fmt.Errorf("watch connections: %w", err)
	}
	p.mu.Lock()
	p.set, p.conns = set, make(map[uint64]*Conn)
	p.mu.Unlock()
	return func(ctx context.Context) {
		var running sync.WaitGroup
		running.Go(func() { _ = set.Run(p.wake) }) // ends with set.Close
		<-ctx.Done()
		p.mu.Lock()
		p.set = nil
		p.mu.Unlock()
		_ = set.Close()
		running.Wait()
	}, nil
}

// park gives up the calling goroutine's claim on c: another goroutine will continue to read
// when there are bytes to read, or when c is reset. If it returns false, c is not parked.
func (p *parking) park(c *Conn) (parked bool) {
	if !c.net.plain {
		return false
	}
	err := c.net.Descriptor(func(fd int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.set == nil {
			return
		}
		id := p.lastID + 1
		if p.set.Watch(fd, epoll.Readable|epoll.PeerClosed, id) != nil {
			return
		}
		p.lastID, c.parkID, p.conns[id] = id, id, c
		parked = true
	})
	return parked && err == nil
}

// take ends the parking of the connection with an id. It returns nil if there is none: the
// event is an old one.
func (p *parking) take(id uint64) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[id]
	delete(p.conns, id)
	return c
}

// wake starts goroutines for the connections with ids. While all slots are taken it waits,
// and further events wait in the kernel.
func (p *parking) wake(ids []uint64) {
	for _, id := range ids {
		if c := p.take(id); c != nil {
			p.slots <- struct{}{}
			c.hub.goroutines.Go(func() { c.readLoop(p.slots) }) // ends when c is parked or closed
		}
	}
}

// unpark makes a goroutine read from c if c is parked. It must be called after the connection
// was reset, since the kernel reports no events of a closed descriptor.
func (p *parking) unpark(c *Conn) {
	p.mu.Lock()
	parked := p.conns[c.parkID] == c
	if parked {
		delete(p.conns, c.parkID)
	}
	p.mu.Unlock()
	if parked {
		c.hub.goroutines.Go(func() { c.readLoop(nil) }) // ends when c is closed
	}
}
