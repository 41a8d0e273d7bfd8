// Package realtime holds connections that live long: WebSockets (RFC 6455),
// server-sent events and long polls, and brings them the messages of channels
// that all processes and machines share.
//
//	Redis ──one subscription──► Bus ──ring of each channel──► outbox ──► client
//	                                                            ▲
//	                             Send, within Options.Queue ────┘
//
// A connection costs one goroutine that reads, or none for a Stream, and a
// second one only while there is something to write. What a client has not read
// waits in its outbox, whose bytes are counted: Send waits for room. What comes
// from a channel does not wait there at all: a subscription is a place in the
// channel's ring, which is encoded once and kept once, so a client that is slow
// costs nothing and holds up nobody. It is closed when it makes no room for
// Options.SendTimeout. When the ring has gone past its place it gets a gap and
// continues with what is kept.
//
// What Tornado's WebSocketHandler offers is here under these names:
//
//	open, on_message, on_close      Handler
//	write_message, close            Conn.Send, Conn.Close
//	check_origin                    the caller's, before Hub.Upgrade
//	select_subprotocol              Upgrade.Protocols, Conn.Subprotocol
//	get_compression_options         Options.Compress
//	websocket_ping_interval         Options.PingInterval
//	websocket_ping_timeout, on_pong Options.PongTimeout
//	websocket_max_message_size      Options.MaxMessage
//	set_nodelay                     always on
package realtime

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// Defaults of Options.
const (
	DefaultQueue        = 1 << 20
	DefaultMaxMessage   = 10 << 20
	DefaultMessageRate  = 1000
	DefaultPingInterval = 30 * time.Second
	DefaultPongTimeout  = 20 * time.Second
	DefaultSendTimeout  = 30 * time.Second
	DefaultGrace        = 30 * time.Second
)

// closeTimeout is how long the client's answer to a close frame is waited for.
const closeTimeout = 5 * time.Second

// ErrClosed is what sending to a connection fails with that is closed, or about
// to be.
var ErrClosed = errors.New("connection is closed")

// Options configure a Hub. The zero value is the documented default.
type Options struct {
	// Queue is how many bytes may wait for one client. Default 1 MiB.
	Queue int
	// MaxMessage is the limit of a client's message, in bytes, decompressed; more
	// closes with 1009. Default 10 MiB.
	MaxMessage int64
	// MessageRate is how many messages of one client are taken in a second; the
	// others wait in its own buffers. Default 1000.
	MessageRate int
	// PingInterval is how often a client is asked for a sign of life, and
	// PongTimeout how long it may take. Defaults 30 s and 20 s.
	PingInterval, PongTimeout time.Duration
	// SendTimeout is how long a client may make no room. Default 30 s.
	SendTimeout time.Duration
	// Grace is how long Run, once its context has ended, takes to close what is
	// open. Default 30 s.
	Grace time.Duration
	// Compress takes permessage-deflate (RFC 7692), without context takeover,
	// where the client offers it.
	Compress bool
	// Logger gets what clients must not see. Nil: nobody does.
	Logger *slog.Logger
	// Meter is told of connections and messages. Nil: nobody is.
	Meter Meter
}

func (o *Options) setDefaults() {
	o.Queue = cmp.Or(max(o.Queue, 0), DefaultQueue)
	o.MaxMessage = cmp.Or(max(o.MaxMessage, 0), DefaultMaxMessage)
	o.MessageRate = cmp.Or(max(o.MessageRate, 0), DefaultMessageRate)
	o.PingInterval = cmp.Or(max(o.PingInterval, 0), DefaultPingInterval)
	o.PongTimeout = cmp.Or(max(o.PongTimeout, 0), DefaultPongTimeout)
	o.SendTimeout = cmp.Or(max(o.SendTimeout, 0), DefaultSendTimeout)
	o.Grace = cmp.Or(max(o.Grace, 0), DefaultGrace)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
}

// Hub are the connections of one process. Make one with New, and Run it once.
type Hub struct {
	opts  Options
	wheel *wheel

	mu         sync.Mutex
	open       map[member]struct{}
	newConns   int // since trim last looked
	draining   bool
	goroutines sync.WaitGroup // goroutines of connections; each is there while its connection is
}

// member is a connection of either kind.
type member interface {
	closeGracefully() // asks the client to go
	abort()           // ends the connection now
	connKind() Kind   // as it is counted
}

// New makes a Hub that has no connections yet.
func New(o Options) *Hub {
	o.setDefaults()
	return &Hub{opts: o, wheel: newWheel(), open: make(map[member]struct{})}
}

// add takes a connection in, unless the process is about to end.
func (h *Hub) add(m member) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return upgrade.ErrLeaving
	}
	h.open[m] = struct{}{}
	h.newConns++
	h.opts.Meter.Opened(m.connKind())
	h.goroutines.Add(1) // given back by remove
	return nil
}

func (h *Hub) remove(m member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.open[m]; ok {
		delete(h.open, m)
		h.opts.Meter.Closed(m.connKind())
		h.goroutines.Done()
	}
}

// Len returns how many connections are open.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// refuses reports whether new connections are turned away.
func (h *Hub) isDraining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// Run keeps the time until ctx ends. Then it takes no more connections and asks
// those that are there to go, in random order and spread over as much of
// Options.Grace as their number needs: WebSockets are closed with 1012, so that
// their clients come back, but not in one instant. It returns when all are
// gone, or cut off at the end of the grace time.
func (h *Hub) Run(ctx context.Context) error {
	over, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ticking sync.WaitGroup
	ticking.Go(func() { h.wheel.run(over) })     // ends with stop
	ticking.Go(func() { h.releaseMemory(over) }) // ends with stop
	defer ticking.Wait()
	defer stop()
	<-ctx.Done()
	h.drain()
	return nil
}

// eachLeave is how far apart two clients are asked to go, if there is time.
const closeSpacing = 5 * time.Millisecond

func (h *Hub) drain() {
	h.mu.Lock()
	h.draining = true
	all := make([]member, 0, len(h.open))
	for m := range h.open {
		all = append(all, m)
	}
	h.mu.Unlock()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })

	none := make(chan struct{})
	go func() { // ends when all are gone, which cut sees to
		h.goroutines.Wait()
		close(none)
	}()
	end := time.NewTimer(h.opts.Grace)
	defer end.Stop()
	spread := min(h.opts.Grace*2/3, time.Duration(len(all))*closeSpacing)
	if len(all) > 0 {
		h.opts.Logger.Info("long-lived connections are asked to leave", "connections", len(all), "within", spread)
	}
	if h.closeGradually(all, spread, none, end.C) {
		select {
		case <-none:
			return
		case <-end.C:
		}
	}
	if n := h.abortAll(); n > 0 {
		h.opts.Logger.Warn("long-lived connections cut off", "connections", n)
	}
	<-none
}

// askAll asks one after the other to leave; it reports whether there is time left.
func (h *Hub) closeGradually(all []member, spread time.Duration, none <-chan struct{}, end <-chan time.Time) bool {
	const batch = 20 * time.Millisecond // a timer for each of them would be many
	began := time.Now()
	for i, m := range all {
		due := spread * time.Duration(i) / time.Duration(len(all))
		if wait := due - time.Since(began); wait > batch {
			select {
			case <-time.After(wait + rand.N(batch)):
			case <-none:
				return true
			case <-end:
				return false
			}
		}
		m.closeGracefully()
	}
	return true
}

// cut ends what is left and returns how much that was.
func (h *Hub) abortAll() int {
	h.mu.Lock()
	left := make([]member, 0, len(h.open))
	for m := range h.open {
		left = append(left, m)
	}
	h.mu.Unlock()
	for _, m := range left {
		m.abort()
	}
	return len(left)
}

// paced gives each 64 KiB of what is written its own deadline, where the
// WebSocket library has one for a message as a whole, and notes when the client
// was heard of.
type deadlineConn struct {
	*server.Taken
	timeout  time.Duration
	lastRead timestamp
}

const writeChunk = 64 << 10

func (p *deadlineConn) Read(b []byte) (int, error) {
	n, err := p.Taken.Read(b)
	if n > 0 {
		p.lastRead.set()
	}
	return n, err
}

func (p *deadlineConn) Write(b []byte) (written int, err error) {
	for {
		if err := p.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
			return written, err
		}
		n, err := p.Taken.Write(b[written:min(len(b), written+writeChunk)])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}
