package realtime

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// Handler gets the events of a connection, one at a time and from its own
// goroutine: while Message runs nothing more is read, which is how a client that
// sends too fast is held back.
type Handler interface {
	// Open is called when the handshake is done.
	Open(c *Conn)
	// Message is called for each whole message. Text is UTF-8.
	Message(c *Conn, m Message)
	// Closed is called last, and always: with the code and reason that the side
	// gave which closed first, or 1006 if the connection was lost.
	Closed(c *Conn, code int, reason string)
}

// Message is a message of either kind.
type Message struct {
	Binary bool
	Data   []byte
}

// Text makes a message of text.
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
	net     *deadlineConn
	ws      *websocket.Conn

	closeReason struct { // why the connection ends, as far as this side decides
		sync.Mutex
		code   int
		reason string
	}
	cancels    []context.CancelFunc // of what Go has started; under outbox.mu
	background sync.WaitGroup       // what Go has started
	rate       rate
	handling   atomic.Bool // a message is being handled: nothing is read
}

func newConn(h *Hub, t *server.Taken, handler Handler, client netip.Addr) *Conn {
	c := &Conn{handler: handler, client: client, net: &deadlineConn{Taken: t, timeout: h.opts.SendTimeout}}
	c.outbox = outbox{hub: h, wire: c, kind: WebSocket, writing: true} // held back until the handshake is done
	c.net.lastRead.set()
	return c
}

// Subprotocol is what was chosen in the handshake, or "".
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// Send queues a message, and waits while there is no room for it (see
// Options.Queue). The error is ErrClosed, or the cause of ctx.
func (c *Conn) Send(ctx context.Context, m Message) error { return c.send(ctx, m.item()) }

// Close closes the connection behind what has been sent: with a code of RFC 6455
// §7.4 and a reason, cut to 123 bytes. A client that does not answer is cut off
// after five seconds.
func (c *Conn) Close(code int, reason string) {
	c.setCloseReason(code, reason)
	frame := upgrade.CloseFrame(code, reason)
	_ = c.enqueue(item{kind: websocket.CloseMessage, data: frame, final: true}) // if it is closed already, that is that
}

// Go runs work beside the connection; its context ends with the connection.
func (c *Conn) Go(work func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.cancels = append(c.cancels, cancel)
	if c.ended {
		cancel()
	}
	c.mu.Unlock()
	c.background.Go(func() { // ends with work, whose context ends with the connection
		if err := pool.Protect(func() error { work(ctx); return nil }); err != nil {
			c.failHandler(err)
		}
	})
}

// Every sends m each interval until the connection ends, the first time within a
// tenth of it, so that those who came together are not served together. To a
// client that has no room it is not sent.
func (c *Conn) Every(interval time.Duration, m Message) {
	c.schedule(jitter(interval), func() { c.repeat(interval, m) })
}

func (c *Conn) repeat(interval time.Duration, m Message) {
	_ = c.enqueue(m.item())
	c.schedule(interval, func() { c.repeat(interval, m) })
}

// decide notes why the connection ends; the first reason counts.
func (c *Conn) setCloseReason(code int, reason string) {
	c.closeReason.Lock()
	defer c.closeReason.Unlock()
	if c.closeReason.code == 0 {
		c.closeReason.code, c.closeReason.reason = code, reason
	}
}

func (c *Conn) closeGracefully() {
	c.Close(websocket.CloseServiceRestart, "the server restarts, come back")
}

// cut ends the connection without another word.
func (c *Conn) abort() {
	c.setCloseReason(websocket.CloseAbnormalClosure, "the client did not answer")
	_ = c.net.Reset() // the goroutine that reads takes it from there
}

// begin is the beginning of the connection; live is the rest.
func (c *Conn) afterHandshake(ws *websocket.Conn) {
	c.ws = ws
	ws.SetReadLimit(c.hub.opts.MaxMessage)
	ws.SetCloseHandler(func(int, string) error { return nil }) // answered in finish
	ws.SetPingHandler(func(data string) error {
		_ = c.enqueue(item{kind: websocket.PongMessage, data: []byte(data)}) // who reads no pongs gets no more of them
		return nil
	})
	c.unblock() // of what was sent already: the process may be leaving
	c.schedulePing()
	err := pool.Protect(func() error { c.handler.Open(c); return nil })
	if err != nil {
		c.failHandler(err)
	}
}

func (c *Conn) readLoop() { c.shutdown(c.read()) }

// over ends the connection as the end of reading demands.
func (c *Conn) shutdown(err error) {
	code, reason, end := c.completeClose(err)
	c.end()
	c.mu.Lock()
	stops := c.cancels
	c.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	c.background.Wait()
	if err := pool.Protect(func() error { c.handler.Closed(c, code, reason); return nil }); err != nil {
		c.logPanic(err)
	}
	c.hub.opts.Logger.Debug("websocket closed", "client", c.client, "code", code, "reason", reason)
	_ = end() // the client may take its time to leave; the handler need not know
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

// watchLife pings, and cuts the client off that shows no sign of life, unless it
// has not read the ping yet, since what is sent has its own deadline, or it is not
// listened to, because its last message is being handled or because this process
// itself stood still and has not come to read.
func (c *Conn) schedulePing() {
	c.schedule(jitter(c.hub.opts.PingInterval), func() {
		pingedAt := time.Now()
		_ = c.enqueue(item{kind: websocket.PingMessage})
		c.schedule(c.hub.opts.PongTimeout, func() {
			if !c.net.lastRead.after(pingedAt) && !c.net.Unread() && c.queuedBytes() == 0 && !c.handling.Load() {
				c.setCloseReason(websocket.CloseAbnormalClosure, "no sign of life")
				_ = c.net.Reset()
				return
			}
			c.schedulePing()
		})
	})
}

// write implements wire.
func (c *Conn) write(it item) error {
	switch {
	case it.prepared != nil:
		return c.ws.WritePreparedMessage(it.prepared)
	case it.kind == websocket.TextMessage, it.kind == websocket.BinaryMessage:
		return c.ws.WriteMessage(it.kind, it.data)
	}
	if it.final {
		defer c.schedule(closeTimeout, c.abort)
	}
	return c.ws.WriteControl(it.kind, it.data, time.Time{})
}

// failed implements wire.
func (c *Conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.setCloseReason(websocket.CloseTryAgainLater, "too slow")
		c.reportSlowConsumer(c.client)
	}
	if !errors.Is(err, websocket.ErrCloseSent) { // then its answer is waited for
		_ = c.net.Reset()
	}
}

var _ slog.LogValuer = Message{}

// LogValue keeps what people write to each other out of logs.
func (m Message) LogValue() slog.Value { return slog.IntValue(len(m.Data)) }
