package realtime

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// Handler handles the events of a connection. Its methods are called one at a time. While
// Message runs, nothing more is read from the connection, so backpressure slows down a
// client that sends too fast.
type Handler interface {
	// Open is called after the handshake.
	Open(c *Conn)
	// Message is called for each complete message. Text is valid UTF-8.
	Message(c *Conn, m Message)
	// Closed is called once after Open and all calls of Message, no matter how the
	// connection ended. It gets the close code and reason of the side that closed first,
	// or 1006 if the connection was lost.
	Closed(c *Conn, code int, reason string)
}

// Message is a text or binary message.
type Message struct {
	Binary bool
	Data   []byte
}

// Text makes a text message.
func Text(s string) Message { return Message{Data: []byte(s)} }

func (m Message) item() item {
	if m.Binary {
		return item{kind: websocket.BinaryMessage, data: m.Data}
	}
	return item{kind: websocket.TextMessage, data: m.Data}
}

// Conn is a WebSocket. Its methods may be called from any goroutine.
type Conn struct {
	outbox
	handler Handler
	client  netip.Addr
	net     deadlineConn
	ws      *websocket.Conn

	closeReason struct { // close code and reason of this side; code is 0 until it ends the connection
		sync.Mutex
		code   int
		reason string
	}
	background *background // nil before the first call of Go; guarded by outbox.mu
	rate       rate
	parkID     uint64 // id in Hub.parking; guarded by parking.mu
}

// background are the goroutines of Conn.Go.
type background struct {
	cancels []context.CancelFunc // for their contexts; guarded by outbox.mu
	running sync.WaitGroup
}

func newConn(h *Hub, t *server.Taken, handler Handler, client netip.Addr) *Conn {
	c := &Conn{handler: handler, client: client, net: deadlineConn{Taken: t, timeout: h.opts.SendTimeout, plain: t.CanWatch()}}
	c.outbox = outbox{hub: h, wire: c, kind: WebSocket, writing: true} // blocked until the handshake is complete
	c.net.lastRead.set()
	return c
}

// Subprotocol returns the subprotocol that the handshake selected, or "".
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// Send queues a message, and blocks while the queue is full (see Options.Queue). The
// error is ErrClosed, or the cause of ctx if that ends before there is space.
func (c *Conn) Send(ctx context.Context, m Message) error { return c.send(ctx, m.item()) }

// Close sends a close frame after the queued messages and does not wait. code is a close
// code of RFC 6455 §7.4; reason is truncated to 123 bytes. If the client does not respond
// within five seconds, the connection is aborted.
func (c *Conn) Close(code int, reason string) {
	c.setCloseReason(code, reason)
	frame := upgrade.CloseFrame(code, reason)
	_ = c.enqueue(item{kind: websocket.CloseMessage, data: frame, final: true}) // the error means that it is closed already
}

// Go runs work on a new goroutine. The context ends with the connection, and
// Handler.Closed is called after work has returned. A panic in work closes the connection
// with close code 1011.
func (c *Conn) Go(work func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	if c.background == nil {
		c.background = new(background)
	}
	b := c.background
	b.cancels = append(b.cancels, cancel)
	if c.ended {
		cancel()
	}
	c.mu.Unlock()
	b.running.Go(func() { // ends with work, whose context ends with the connection
		if err := pool.Protect(func() error { work(ctx); return nil }); err != nil {
			c.failHandler(err)
		}
	})
}

// Every sends m once in each interval until the connection ends. The first interval is
// random, from 10 % shorter to 5 % longer, so that clients that connected together do not
// get the message at the same time. m is dropped if the client's queue is full.
func (c *Conn) Every(interval time.Duration, m Message) {
	c.schedule(jitter(interval), func() { c.repeat(interval, m) })
}

func (c *Conn) repeat(interval time.Duration, m Message) {
	_ = c.enqueue(m.item())
	c.schedule(interval, func() { c.repeat(interval, m) })
}

// setCloseReason records why the connection ends. Only the first call has an effect.
func (c *Conn) setCloseReason(code int, reason string) {
	c.closeReason.Lock()
	defer c.closeReason.Unlock()
	if c.closeReason.code == 0 {
		c.closeReason.code, c.closeReason.reason = code, reason
	}
}

func (c *Conn) closeGracefully() {
	c.Close(websocket.CloseServiceRestart, "the server restarts, connect again")
}

// abort ends the connection without a close frame.
func (c *Conn) abort() {
	c.setCloseReason(websocket.CloseAbnormalClosure, "the client did not respond")
	c.reset()
}

// reset ends the connection at once. readLoop then cleans up.
func (c *Conn) reset() {
	_ = c.net.Reset()
	c.hub.parking.unpark(c)
}

// pong responds to a ping. The response is dropped if the queue is full.
func (c *Conn) pong(data []byte) { _ = c.enqueue(item{kind: websocket.PongMessage, data: data}) }

// afterHandshake sets up the connection after the handshake. The caller then parks it or
// starts readLoop.
func (c *Conn) afterHandshake(ws *websocket.Conn) {
	c.ws = ws
	ws.SetReadLimit(c.hub.opts.MaxMessage)
	ws.SetCloseHandler(func(int, string) error { return nil }) // completeClose responds
	ws.SetPingHandler(func(data string) error {
		c.pong([]byte(data))
		return nil
	})
	c.unblock() // the queue may already contain a close frame
	c.schedulePing()
	err := pool.Protect(func() error { c.handler.Open(c); return nil })
	if err != nil {
		c.failHandler(err)
	}
}

// readLoop reads until the connection is parked or closed. slots has an element for this
// goroutine (see parking); nil if it has none.
func (c *Conn) readLoop(slots chan struct{}) {
	for wait := false; ; wait = true { // wait if c could not be parked
		c.net.beginRead(slots, wait)
		err := c.read()
		c.net.endRead()
		if !errors.Is(err, errIdle) {
			c.shutdown(err)
			return
		}
		if c.hub.parking.park(c) {
			return
		}
		slots = nil
	}
}

// shutdown ends the connection after err, the error that ended reading.
func (c *Conn) shutdown(err error) {
	code, reason, end := c.completeClose(err)
	c.end()
	c.mu.Lock()
	b := c.background
	var stops []context.CancelFunc
	if b != nil {
		stops = b.cancels
	}
	c.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	if b != nil {
		b.running.Wait()
	}
	if err := pool.Protect(func() error { c.handler.Closed(c, code, reason); return nil }); err != nil {
		c.logPanic(err)
	}
	c.hub.opts.Logger.Debug("websocket closed", "client", c.client, "code", code, "reason", reason)
	_ = end() // may take seconds, so Closed is called before
	c.hub.remove(c)
}

func (c *Conn) failHandler(err error) {
	c.logPanic(err)
	c.Close(websocket.CloseInternalServerErr, "internal error")
}

func (c *Conn) logPanic(err error) {
	attrs := []any{"client", c.client, "error", err}
	if p, ok := errors.AsType[*pool.PanicError](err); ok {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	c.hub.opts.Logger.Error("websocket handler failed", attrs...)
}

// schedulePing schedules a ping. If the client sends nothing for PongTimeout after it, the
// connection is aborted. There are three exceptions:
//   - the ping is still queued: writes have their own deadline
//   - a message is being handled: nothing is read during that time
//   - the kernel holds unread bytes: this process was stopped or too slow to read them
func (c *Conn) schedulePing() {
	c.schedule(jitter(c.hub.opts.PingInterval), func() {
		pingedAt := time.Now()
		_ = c.enqueue(item{kind: websocket.PingMessage})
		c.schedule(c.hub.opts.PongTimeout, func() {
			if !c.net.lastRead.after(pingedAt) && !c.net.Unread() && c.queuedBytes() == 0 && !c.net.handling.Load() {
				c.setCloseReason(websocket.CloseAbnormalClosure, "ping timeout")
				c.reset()
				return
			}
			c.schedulePing()
		})
	})
}

// write implements wire. The library writes close frames, after which it writes no other
// one, and messages that may be compressed.
func (c *Conn) write(it item) error {
	switch {
	case it.prepared != nil:
		return c.ws.WritePreparedMessage(it.prepared)
	case it.shared != nil:
		return c.net.writeFrame(it.shared)
	case it.kind == websocket.CloseMessage:
		defer c.schedule(closeTimeout, c.abort)
		return c.ws.WriteControl(it.kind, it.data, time.Time{})
	case c.hub.opts.Compress && it.isMessage():
		return c.ws.WriteMessage(it.kind, it.data)
	case len(it.data) <= smallMessage:
		return c.net.writeFrame(newFrame(it.kind, it.data))
	}
	return c.net.writeFrame(appendFrameHead(nil, it.kind, len(it.data)), it.data)
}

// smallMessage is the maximum length of messages that are copied behind their header.
const smallMessage = 64 << 10

// tryWrite implements wire.
func (c *Conn) tryWrite(it item) (later func() error, err error) {
	switch {
	case it.shared != nil:
		return c.net.tryWrite(it.shared)
	case it.kind == websocket.CloseMessage, c.hub.opts.Compress && it.isMessage(), len(it.data) > smallMessage:
		return func() error { return c.write(it) }, nil
	}
	return c.net.tryWrite(newFrame(it.kind, it.data))
}

// writeFailed implements wire.
func (c *Conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.setCloseReason(websocket.CloseTryAgainLater, "too slow")
		c.reportSlowConsumer(c.client)
	}
	if !errors.Is(err, websocket.ErrCloseSent) { // otherwise the connection still waits for the client's close frame
		c.reset()
	}
}

var _ slog.LogValuer = Message{}

// LogValue returns the length of the message, so that logs do not contain its content.
func (m Message) LogValue() slog.Value { return slog.IntValue(len(m.Data)) }
