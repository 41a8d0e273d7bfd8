package demo

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

const (
	// broadcastChannel is the channel of /broadcast. Clients cannot subscribe to it in
	// another way, because their channel names must not begin with a dot.
	broadcastChannel = ".broadcast"
	// heartbeatInterval is the interval of /heartbeat.
	heartbeatInterval = 10 * time.Second
	// Limits of the query parameters of a stream.
	maxStreamCount    = 10_000_000
	maxStreamInterval = 60_000 // ms
)

// socketRoutes are the demonstrations of Tornado's WebSocketHandler.
type socketRoutes struct {
	hub        *realtime.Hub
	bus        *realtime.Bus
	log        *slog.Logger
	maxMessage int64         // size limit of a message to /broadcast, in bytes
	clients    *atomic.Int64 // number of clients of /broadcast
}

// echo serves /websocket.
func (s *socketRoutes) echo(ctx *fasthttp.RequestCtx) error {
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{welcome: "Welcome to the WebSocket server!"}})
}

// heartbeat serves /heartbeat.
func (s *socketRoutes) heartbeat(ctx *fasthttp.RequestCtx) error {
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{
		welcome: "Connected to Heartbeat WebSocket server!",
		start:   func(c *realtime.Conn) { c.Every(heartbeatInterval, realtime.Text("heartbeat")) },
	}})
}

// asyncio serves /asyncio, which streams and echoes at the same time.
func (s *socketRoutes) asyncio(ctx *fasthttp.RequestCtx) error {
	stream, err := parseStream(ctx)
	if err != nil {
		return err
	}
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{
		welcome: "Connected to Asyncio WebSocket server!",
		start:   func(c *realtime.Conn) { c.Go(stream.sendTo(c)) },
	}})
}

// backpressure serves /backpressure, which only streams.
func (s *socketRoutes) backpressure(ctx *fasthttp.RequestCtx) error {
	stream, err := parseStream(ctx)
	if err != nil {
		return err
	}
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{
		welcome: "Connected to Backpressure WebSocket server!",
		start:   func(c *realtime.Conn) { c.Go(stream.sendTo(c)) },
		discard: true,
	}})
}

// broadcast serves /broadcast.
func (s *socketRoutes) broadcast(ctx *fasthttp.RequestCtx) error {
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &broadcaster{routes: s}})
}

// sendText queues a text message. An error means that the connection has ended, and then
// the hub calls Closed.
func sendText(c *realtime.Conn, text string) { _ = c.Send(context.Background(), realtime.Text(text)) }

// closeIfBinary closes the connection if the message is binary, and reports whether it
// did.
func closeIfBinary(c *realtime.Conn, m realtime.Message) (closed bool) {
	if m.Binary {
		c.Close(websocket.CloseUnsupportedData, "send text messages only")
	}
	return m.Binary
}

// echo sends a welcome message and returns each message that it receives.
type echo struct {
	welcome string
	start   func(*realtime.Conn) // additional work after the welcome message; may be nil
	discard bool                 // whether received messages are ignored
}

func (e *echo) Open(c *realtime.Conn) {
	sendText(c, e.welcome)
	if e.start != nil {
		e.start(c)
	}
}

func (e *echo) Message(c *realtime.Conn, m realtime.Message) {
	if !closeIfBinary(c, m) && !e.discard {
		sendText(c, "You said: "+string(m.Data))
	}
}

func (*echo) Closed(*realtime.Conn, int, string) {}

// stream is a number of messages at a fixed interval.
type stream struct {
	count    int
	interval time.Duration
}

// parseStream reads the query parameters n and ms.
func parseStream(ctx *fasthttp.RequestCtx) (s stream, err error) {
	if s.count, err = server.QueryInt(ctx, "n", 10_000, maxStreamCount); err != nil {
		return s, err
	}
	ms, err := server.QueryInt(ctx, "ms", 10, maxStreamInterval)
	s.interval = time.Duration(ms) * time.Millisecond
	return s, err
}

// sendTo returns a function that sends the messages to c. Send waits while the client is
// slower than the stream.
func (s stream) sendTo(c *realtime.Conn) func(context.Context) {
	return func(ctx context.Context) {
		var due <-chan time.Time
		if s.interval > 0 {
			ticker := time.NewTicker(s.interval)
			defer ticker.Stop()
			due = ticker.C
		}
		text := []byte("Message ")
		for i := range s.count {
			if due != nil {
				select {
				case <-due:
				case <-ctx.Done():
					return
				}
			}
			// A new slice for each message, because the queue keeps it.
			m := realtime.Message{Data: strconv.AppendInt(bytes.Clone(text), int64(i), 10)}
			if c.Send(ctx, m) != nil {
				return
			}
		}
	}
}

// broadcaster handles one connection of /broadcast.
type broadcaster struct{ routes *socketRoutes }

// broadcastForm converts an event of the channel to a message. The protocol of this
// demonstration has no message for a gap, so the connection is closed then.
var broadcastForm = &realtime.Form{Encode: func(e realtime.Event) []byte {
	if e.Gap {
		return nil
	}
	return []byte("Broadcast: " + e.Data)
}}

func (b *broadcaster) Open(c *realtime.Conn) {
	b.routes.clients.Add(1)
	welcome := func(realtime.Position) []byte { return []byte("Connected to Broadcast WebSocket server!") }
	start := realtime.Start{Channel: broadcastChannel}
	if err := c.Subscribe(context.Background(), b.routes.bus, start, broadcastForm, welcome); err != nil {
		c.Close(websocket.CloseTryAgainLater, realtime.ErrAway.Error())
	}
}

func (b *broadcaster) Message(c *realtime.Conn, m realtime.Message) {
	switch {
	case closeIfBinary(c, m):
		return
	case int64(len(m.Data)) > b.routes.maxMessage:
		c.Close(websocket.CloseMessageTooBig, "message too long for a broadcast")
		return
	}
	if _, err := b.routes.bus.Publish(context.Background(), broadcastChannel, m.Data); err != nil {
		b.routes.log.Warn("broadcast not sent", "client", c.Client(), "error", err)
		sendText(c, "Not sent, try again: "+realtime.ErrAway.Error())
	}
}

func (b *broadcaster) Closed(*realtime.Conn, int, string) { b.routes.clients.Add(-1) }
