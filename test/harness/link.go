package harness

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Link is a TCP proxy between clients and a server, whose network can be made worse.
type Link struct {
	Addr string // where it listens

	target string
	fault  chan any // capacity 1: one fault at a time

	mu      sync.Mutex
	quality Quality
	changed chan any              // closed when quality changes
	open    map[*net.TCPConn]bool // connections of clients: whether the next reply is cut
}

// Quality is how a network treats bytes. The zero value is a good network.
type Quality struct {
	Delay, Jitter  time.Duration // each piece is late by Delay to Delay + Jitter, in order
	BytesPerSecond int           // of each connection and direction; 0: no limit
	Stopped        bool          // nothing passes
}

// linkPiece is the largest number of bytes that pass together.
const linkPiece = 4 << 10

// linkBuffer is the number of pieces on the way in one direction of a connection.
const linkBuffer = 64

// NewLink starts a link to a server, which listens on a free port of host until the end of the test.
func NewLink(t *testing.T, host, target string) *Link {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{Addr: ln.Addr().String(), target: target, fault: make(chan any, 1), changed: make(chan any), open: map[*net.TCPConn]bool{}}
	var running sync.WaitGroup
	running.Go(func() { // ends when ln is closed
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.serve(nc.(*net.TCPConn)) }) // ends with the connection
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		l.set(Quality{})
		l.mu.Lock()
		for nc := range l.open {
			_ = nc.Close()
		}
		l.mu.Unlock()
		running.Wait()
	})
	return l
}

// Degrade changes the quality for some time. It returns false if the link has a fault already.
func (l *Link) Degrade(q Quality, pause time.Duration) bool {
	select {
	case l.fault <- nil:
	default:
		return false
	}
	defer func() { <-l.fault }()
	l.set(q)
	<-time.After(pause)
	l.set(Quality{})
	return true
}

// Reset resets each connection that is open now in the middle of its next reply, if that comes
// before the pause is over.
func (l *Link) Reset(pause time.Duration) {
	l.mark(true)
	<-time.After(pause)
	l.mark(false)
}

func (l *Link) mark(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for nc := range l.open {
		l.open[nc] = cut
	}
}

func (l *Link) set(q Quality) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quality = q
	close(l.changed)
	l.changed = make(chan any)
}

func (l *Link) now() (Quality, <-chan any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quality, l.changed
}

// serve copies between a client and the server until either closes the connection. A half-closed
// connection stays open in the other direction.
func (l *Link) serve(client *net.TCPConn) {
	defer client.Close()
	to, err := net.Dial("tcp", l.target)
	if err != nil {
		_ = client.SetLinger(0)
		return
	}
	server := to.(*net.TCPConn)
	defer server.Close()
	l.mu.Lock()
	l.open[client] = false
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.open, client)
		l.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { l.pass(server, client, func() bool { return false }) })
	both.Go(func() { l.pass(client, server, func() bool { return l.cuts(client) }) })
	both.Wait()
}

func (l *Link) cuts(client *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[client]
}

// pass copies one direction. cut reports whether the connection ends in the middle of this piece.
func (l *Link) pass(to, from *net.TCPConn, cut func() bool) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, linkBuffer)
	go func() { // ends when from is closed; the loop below takes all pieces
		defer close(pieces)
		for {
			data := make([]byte, linkPiece)
			n, err := from.Read(data)
			if n > 0 {
				q, _ := l.now()
				pieces <- piece{data[:n], time.Now().Add(q.Delay + time.Duration(rand.Int64N(int64(q.Jitter)+1)))}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for p := range pieces {
		if broken {
			continue
		}
		<-time.After(time.Until(p.due))
		l.wait(len(p.data))
		if cut() {
			_, _ = to.Write(p.data[:len(p.data)/2])
			_ = to.SetLinger(0) // a reset
			_, _ = to.Close(), from.Close()
			broken = true
			continue
		}
		if _, err := to.Write(p.data); err != nil {
			_ = from.Close()
			broken = true
		}
	}
	if !broken {
		_ = to.CloseWrite()
	}
}

// wait returns when n bytes may pass.
func (l *Link) wait(n int) {
	for {
		q, changed := l.now()
		if !q.Stopped {
			if q.BytesPerSecond > 0 {
				<-time.After(time.Duration(n) * time.Second / time.Duration(q.BytesPerSecond))
			}
			return
		}
		<-changed
	}
}
