// Package realtime serves long-lived connections: WebSockets (RFC 6455), server-sent
// events and long polls. It delivers the messages of channels, which all processes and
// machines share.
//
//	Redis ──one subscription──► Bus ──ring of each channel──► outbox ──► client
//	                                                            ▲
//	                             Send, within Options.Queue ────┘
//
// A WebSocket needs a goroutine only while the client's frames are read and handled, a
// Stream needs none for reading. Both need another one while data waits until the client
// reads: otherwise the goroutine that adds data writes it, without waiting. A WebSocket over
// TLS always has a goroutine for reading, and one while it writes.
//
// Each client has an outbox, a queue whose size is limited in bytes: Conn.Send blocks while it
// is full. Channel messages are not copied into it. A subscription is a position in the
// channel's ring, which holds each message once, and its encoding. Therefore a slow consumer
// uses no extra memory and delays no other client.
// Its connection is closed if it reads nothing for Options.SendTimeout. If the ring drops
// messages before a subscriber has got them, the subscriber gets a gap and continues with
// the oldest message that is kept.
//
// These parts replace Tornado's WebSocketHandler:
//
//	open, on_message, on_close      Handler
//	write_message, close            Conn.Send, Conn.Close
//	check_origin                    the caller checks the Origin before Hub.Upgrade
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
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

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
	DefaultReaders      = 64
)

// closeTimeout is the time that a client has to respond to a close frame.
const closeTimeout = 5 * time.Second

// parkAfter is the time for which a connection keeps its goroutine after a message, or half of
// that time after several messages. A busy connection then needs no new goroutine for each.
const parkAfter = time.Second

// ErrClosed is the error of sending to a connection that is closed or closing.
var ErrClosed = errors.New("connection is closed")

// Options configure a Hub. The zero value is the documented default.
type Options struct {
	// Queue is the limit of the data queued for one client, in bytes. Each queued
	// message counts 64 bytes more than its length. Default 1 MiB.
	Queue int
	// MaxMessage is the limit of a client's message, in bytes after decompression. A
	// longer message closes the connection with close code 1009. Default 10 MiB.
	MaxMessage int64
	// MessageRate is the limit of messages per second that are read from one client.
	// Further messages are read later: backpressure slows the client down. Default 1000.
	MessageRate int
	// PingInterval is the interval of pings. PongTimeout is the time that the client
	// has to respond to one. Defaults 30 s and 20 s.
	PingInterval, PongTimeout time.Duration
	// SendTimeout is the time that a write may take if the client does not read. After
	// it the connection is closed. Default 30 s.
	SendTimeout time.Duration
	// Grace is the time limit for closing the open connections after the context of Run
	// has ended. Default 30 s.
	Grace time.Duration
	// Readers is the maximum number of idle WebSockets that begin to be read at the same
	// time. Further ones wait in the kernel. A WebSocket stops counting when its message is
	// complete and before its handler is called, or when the rest of a message has not
	// arrived yet. So slow handlers and slow clients do not delay others. Default 64.
	Readers int
	// Compress enables permessage-deflate (RFC 7692), without context takeover, for
	// clients that offer it. Default: no compression.
	Compress bool
	// Logger gets slow consumers, panics of handlers and the progress of the shutdown.
	// Nil: no log.
	Logger *slog.Logger
	// Meter counts connections and messages. Nil: no counting.
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
	o.Readers = cmp.Or(max(o.Readers, 0), DefaultReaders)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
}

// Hub holds the connections of one process. Make one with New, and call Run once.
type Hub struct {
	opts    Options
	wheel   *wheel
	parking parking
	stay    time.Duration // see parkAfter; replaced by tests
	opened  chan struct{} // wakes releaseMemory

	mu         sync.Mutex
	open       map[member]struct{}
	newConns   int            // number of connections opened since the last check of releaseMemory
	draining   bool           // true when new connections are refused
	goroutines sync.WaitGroup // one for each connection, and the goroutines of connections
}

// member is a connection of any kind.
type member interface {
	closeGracefully() // ends the connection in a way that makes the client reconnect
	abort()           // ends the connection without waiting for the client
	connKind() Kind   // for the Meter
}

// New makes a Hub without connections.
func New(o Options) *Hub {
	o.setDefaults()
	return &Hub{
		opts: o, wheel: newWheel(), open: make(map[member]struct{}),
		parking: parking{slots: make(chan struct{}, o.Readers)}, stay: parkAfter, opened: make(chan struct{}, 1),
	}
}

// add registers a connection. While the process shuts down it returns
// upgrade.ErrLeaving.
func (h *Hub) add(m member) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return upgrade.ErrLeaving
	}
	h.open[m] = struct{}{}
	if h.newConns++; h.newConns == 1 {
		select {
		case h.opened <- struct{}{}:
		default: // releaseMemory has not seen the last one yet
		}
	}
	h.opts.Meter.Opened(m.connKind())
	h.goroutines.Add(1) // released by remove
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

// Len returns the number of open connections.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// isDraining reports whether new connections are refused.
func (h *Hub) isDraining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// Run serves the timers of connections until ctx ends. Then the Hub accepts no more
// connections, and Run closes the open ones in random order: one every 5 ms, or faster if
// that would need more than two thirds of Options.Grace. Therefore the clients do not all
// reconnect at once. WebSockets are closed with close code 1012. At the end of the grace period
// the remaining connections are aborted. Run returns nil when no connection is left. It
// returns an error at once if the process has no file descriptor left.
func (h *Hub) Run(ctx context.Context) error {
	watch, err := h.parking.begin()
	if err != nil {
		return fmt.Errorf("run hub: %w", err)
	}
	over, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ticking sync.WaitGroup
	ticking.Go(func() { watch(over) })           // ends with stop
	ticking.Go(func() { h.wheel.run(over) })     // ends with stop
	ticking.Go(func() { h.releaseMemory(over) }) // ends with stop
	defer ticking.Wait()
	defer stop()
	<-ctx.Done()
	h.drain()
	return nil
}

// closeSpacing is the interval between two closes, if the grace period allows it.
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
	go func() { // ends with the last connection, at the latest after abortAll
		h.goroutines.Wait()
		close(none)
	}()
	end := time.NewTimer(h.opts.Grace)
	defer end.Stop()
	spread := min(h.opts.Grace*2/3, time.Duration(len(all))*closeSpacing)
	if len(all) > 0 {
		h.opts.Logger.Info("closing long-lived connections", "connections", len(all), "within", spread)
	}
	if h.closeGradually(all, spread, none, end.C) {
		select {
		case <-none:
			return
		case <-end.C:
		}
	}
	if n := h.abortAll(); n > 0 {
		h.opts.Logger.Warn("long-lived connections aborted", "connections", n)
	}
	<-none
}

// closeGradually closes one connection after the other, within spread. It returns false if
// the grace period ended before it was done.
func (h *Hub) closeGradually(all []member, spread time.Duration, none <-chan struct{}, end <-chan time.Time) bool {
	const batch = 20 * time.Millisecond // minimum wait, so that not every connection needs a timer
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

// abortAll aborts the remaining connections and returns their number.
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
