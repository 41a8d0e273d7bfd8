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
	// broadcastChannel is what /broadcast sends through; no client can name it.
	broadcastChannel = ".broadcast"
	// beatEvery is the interval of /heartbeat.
	beatEvery = 10 * time.Second
	// maxStream and maxGap bound what a client may ask of a stream.
	maxStream = 10_000_000
	maxGap    = 60_000 // ms
)

// socketRoutes are the demonstrations of Tornado's WebSocketHandler.
type socketRoutes struct {
	hub        *realtime.Hub
	bus        *realtime.Bus
	log        *slog.Logger
	maxMessage int64         // of a broadcast
	clients    *atomic.Int64 // of the broadcast
}

func (s *socketRoutes) echo(ctx *fasthttp.RequestCtx) error {
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{welcome: "Welcome to the WebSocket server!"}})
}

func (s *socketRoutes) heartbeat(ctx *fasthttp.RequestCtx) error {
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{
		welcome: "Connected to Heartbeat WebSocket server!",
		begin:   func(c *realtime.Conn) { c.Every(beatEvery, realtime.Text("heartbeat")) },
	}})
}

func (s *socketRoutes) asyncio(ctx *fasthttp.RequestCtx) error {
	stream, err := streamOf(ctx)
	if err != nil {
		return err
	}
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{
		welcome: "Connected to Asyncio WebSocket server!",
		begin:   func(c *realtime.Conn) { c.Go(stream.to(c)) },
	}})
}

func (s *socketRoutes) backpressure(ctx *fasthttp.RequestCtx) error {
	stream, err := streamOf(ctx)
	if err != nil {
		return err
	}
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &echo{
		welcome: "Connected to Backpressure WebSocket server!",
		begin:   func(c *realtime.Conn) { c.Go(stream.to(c)) },
		mute:    true,
	}})
}

func (s *socketRoutes) broadcast(ctx *fasthttp.RequestCtx) error {
	return s.hub.Upgrade(ctx, realtime.Upgrade{Handler: &broadcaster{routes: s}})
}

// said sends text behind what waits already. That the connection is over is
// Closed's to hear.
func said(c *realtime.Conn, text string) { _ = c.Send(context.Background(), realtime.Text(text)) }

// onlyText closes a connection for a binary message, and reports whether it did.
func onlyText(c *realtime.Conn, m realtime.Message) (refused bool) {
	if m.Binary {
		c.Close(websocket.CloseUnsupportedData, "text is spoken here")
	}
	return m.Binary
}

// echo greets, and says what it was told.
type echo struct {
	welcome string
	begin   func(*realtime.Conn) // nil: nothing
	mute    bool                 // it does not listen
}

func (e *echo) Open(c *realtime.Conn) {
	said(c, e.welcome)
	if e.begin != nil {
		e.begin(c)
	}
}

func (e *echo) Message(c *realtime.Conn, m realtime.Message) {
	if !onlyText(c, m) && !e.mute {
		said(c, "You said: "+string(m.Data))
	}
}

func (*echo) Closed(*realtime.Conn, int, string) {}

// stream is a row of messages.
type stream struct {
	count int
	gap   time.Duration
}

func streamOf(ctx *fasthttp.RequestCtx) (s stream, err error) {
	if s.count, err = server.QueryInt(ctx, "n", 10_000, maxStream); err != nil {
		return s, err
	}
	ms, err := server.QueryInt(ctx, "ms", 10, maxGap)
	s.gap = time.Duration(ms) * time.Millisecond
	return s, err
}

// to sends the messages, as fast as the client takes them at most.
func (s stream) to(c *realtime.Conn) func(context.Context) {
	return func(ctx context.Context) {
		var due <-chan time.Time
		if s.gap > 0 {
			ticker := time.NewTicker(s.gap)
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
			// The queue keeps what it is given.
			m := realtime.Message{Data: strconv.AppendInt(bytes.Clone(text), int64(i), 10)}
			if c.Send(ctx, m) != nil {
				return
			}
		}
	}
}

// broadcaster is one client of /broadcast.
type broadcaster struct{ routes *socketRoutes }

// broadcastForm is what a broadcast looks like. Of a gap there is nothing to be
// said in the words of the demonstration; the log says it.
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
	case onlyText(c, m):
		return
	case int64(len(m.Data)) > b.routes.maxMessage:
		c.Close(websocket.CloseMessageTooBig, "too long for a broadcast")
		return
	}
	if _, err := b.routes.bus.Publish(context.Background(), broadcastChannel, m.Data); err != nil {
		b.routes.log.Warn("broadcast not sent", "client", c.Client(), "error", err)
		said(c, "Not sent, try again: "+realtime.ErrAway.Error())
	}
}

func (b *broadcaster) Closed(*realtime.Conn, int, string) { b.routes.clients.Add(-1) }
