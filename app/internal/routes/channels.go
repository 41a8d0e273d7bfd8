package routes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/upgrade"
)

const (
	// newsChannel is the channel whose messages end long polls.
	newsChannel = "news"
	// keepAlive is the interval of comments in an event stream, so that proxies do not
	// close an idle stream.
	keepAlive = 15 * time.Second
)

// channelRoutes are the routes of channels.
type channelRoutes struct {
	hub *realtime.Hub
	bus *realtime.Bus
	log *slog.Logger
}

func (c *channelRoutes) routes(guard *access.Guard) []server.Route {
	get := fasthttp.MethodGet
	return []server.Route{
		{Method: get, Path: "/longpoll", Handler: c.longpoll},
		{Method: get, Path: "/channels/{channel}", Admit: access.WithToken(guard.Write), Handler: c.socket},
		{Method: get, Path: "/events/{channel}", Admit: guard.Read, Handler: c.events},
		{Method: fasthttp.MethodPost, Path: "/publish/{channel}", Admit: guard.Write, Handler: c.publish},
	}
}

// channelOf returns the channel that a request names. Names that begin with a dot are
// reserved for the server.
func channelOf(ctx *fasthttp.RequestCtx) (string, error) {
	name := server.Param(ctx, "channel")
	if strings.HasPrefix(name, ".") {
		return "", realtime.ErrChannel
	}
	return name, nil
}

// startOf returns the channel of a subscription and the sequence number after which it
// starts. That number is last, the value of a header, or the parameter since.
func startOf(ctx *fasthttp.RequestCtx, last []byte) (start realtime.Start, err error) {
	if start.Channel, err = channelOf(ctx); err != nil {
		return start, err
	}
	since, given := server.QueryText(ctx, "since")
	if len(last) > 0 {
		since, given = string(last), true
	}
	if start.Resume = given; !given {
		return start, nil
	}
	if start.Since, err = strconv.ParseUint(since, 10, 64); err != nil {
		return start, server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("since: %q is not a sequence number", since))
	}
	return start, nil
}

// publish is POST /publish/{channel}.
func (c *channelRoutes) publish(ctx *fasthttp.RequestCtx) error {
	channel, err := channelOf(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(channel, ":") {
		return server.Fail(fasthttp.StatusBadRequest, "channels with a colon are reserved for the server")
	}
	data, err := server.ReadAll(ctx)
	if err != nil {
		return err
	}
	seq, err := c.bus.Publish(ctx, channel, data)
	if err != nil {
		return err
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, note{Channel: channel, Seq: seq})
}

// note is a message of a channel as sent to clients, or an event. With Gap, messages
// before the sequence number Seq were lost.
type note struct {
	Channel string  `json:"channel"`
	Seq     uint64  `json:"seq"`
	Event   string  `json:"event,omitempty"` // subscribed, gap
	Gap     bool    `json:"gap,omitempty"`
	Data    *string `json:"data,omitempty"`
}

func (n note) text() []byte {
	text, err := json.Marshal(n)
	if err != nil {
		return nil // cannot happen: only numbers and strings
	}
	return text
}

func noteOf(e realtime.Event) note {
	if e.Gap {
		return note{Channel: e.Channel, Seq: e.Seq, Event: "gap", Gap: true}
	}
	return note{Channel: e.Channel, Seq: e.Seq, Data: &e.Data}
}

func subscribed(channel string, p realtime.Position) note {
	return note{Channel: channel, Seq: p.Seq, Event: "subscribed", Gap: p.Gap}
}

var socketForm = &realtime.Form{Encode: func(e realtime.Event) []byte { return noteOf(e).text() }}

// socket is WS /channels/{channel}.
func (c *channelRoutes) socket(ctx *fasthttp.RequestCtx) error {
	start, err := startOf(ctx, nil)
	if err != nil {
		return err
	}
	if !realtime.ValidChannel(start.Channel) {
		return realtime.ErrChannel
	}
	return c.hub.Upgrade(ctx, realtime.Upgrade{Handler: &subscriber{bus: c.bus, start: start}})
}

// subscriber handles the WebSocket of one subscriber.
type subscriber struct {
	bus   *realtime.Bus
	start realtime.Start
}

func (s *subscriber) Open(c *realtime.Conn) {
	tell := func(p realtime.Position) []byte { return subscribed(s.start.Channel, p).text() }
	if err := c.Subscribe(context.Background(), s.bus, s.start, socketForm, tell); err != nil {
		c.Close(websocket.CloseTryAgainLater, realtime.ErrAway.Error())
	}
}

func (*subscriber) Message(c *realtime.Conn, _ realtime.Message) {
	c.Close(websocket.ClosePolicyViolation, "this WebSocket accepts no messages; use POST /publish")
}

func (*subscriber) Closed(*realtime.Conn, int, string) {}

var eventForm = &realtime.Form{Encode: func(e realtime.Event) []byte {
	if e.Gap {
		return sse("gap", e.Seq, string(noteOf(e).text()))
	}
	return sse("", e.Seq, e.Data)
}}

// sse encodes a server-sent event (HTML standard, section 9.2.6). Each line of data
// becomes a field of its own.
func sse(event string, seq uint64, data string) []byte {
	var b bytes.Buffer
	if event != "" {
		b.WriteString("event: " + event + "\n")
	}
	b.WriteString("id: " + strconv.FormatUint(seq, 10) + "\n")
	data = strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(data, "\n") {
		b.WriteString("data: " + line + "\n")
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// events is GET /events/{channel}.
func (c *channelRoutes) events(ctx *fasthttp.RequestCtx) error {
	start, err := startOf(ctx, ctx.Request.Header.Peek("Last-Event-ID"))
	if err != nil {
		return err
	}
	if !realtime.ValidChannel(start.Channel) {
		return realtime.ErrChannel
	}
	ctx.SetContentType(server.EventStream)
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.Response.Header.Set("X-Accel-Buffering", "no") // nginx must not buffer events
	if ctx.IsHead() {
		return nil
	}
	err = c.hub.Stream(ctx, realtime.EventStream, func(s *realtime.Stream) error {
		// A random delay spreads the reconnects of clients after a reload.
		if err := s.Send(fmt.Appendf(nil, "retry: %d\n\n", 500+rand.IntN(2000))); err != nil {
			return err
		}
		tell := func(p realtime.Position) []byte {
			return sse("subscribed", p.Seq, string(subscribed(start.Channel, p).text()))
		}
		if err := s.Subscribe(ctx, c.bus, start, eventForm, tell); err != nil {
			return err
		}
		s.Every(keepAlive, []byte(":\n\n"))
		return nil
	})
	if reason, temporary := temporaryFault(err); temporary {
		c.log.Debug("event stream refused, the client will reconnect", "channel", start.Channel, "client", server.Client(ctx), "error", err)
		ctx.SetBody(server.RetryStream(reason))
		return nil
	}
	return err
}

// temporaryFault reports whether err is a temporary fault, and returns the reason for the
// client.
func temporaryFault(err error) (reason string, temporary bool) {
	for _, fault := range []error{upgrade.ErrLeaving, realtime.ErrAway} {
		if errors.Is(err, fault) {
			return fault.Error() + ", connect again", true
		}
	}
	return "", false
}

// Parts of the response to a long poll.
const (
	waitingText = "Waiting for data..."
	newsText    = "New data available!"
)

var newsForm = &realtime.Form{Once: true, Encode: func(e realtime.Event) []byte { return []byte(newsText) }}

// longpoll is GET /longpoll. If the channels are not available, it only waits until the
// time is up. A process that drains ends all long polls at once.
func (c *channelRoutes) longpoll(ctx *fasthttp.RequestCtx) error {
	wait, err := server.QueryDuration(ctx, "s", 10*time.Second, maxWait)
	if err != nil {
		return err
	}
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	if ctx.IsHead() {
		return nil
	}
	err = c.hub.Stream(ctx, realtime.LongPoll, func(s *realtime.Stream) error {
		if err := s.Send([]byte(waitingText)); err != nil {
			return err
		}
		s.SetDrainMessage([]byte(newsText))
		if err := s.Subscribe(ctx, c.bus, realtime.Start{Channel: newsChannel}, newsForm, nil); err != nil {
			c.log.Warn("long poll cannot subscribe to the channel, it ends when its time is up", "channel", newsChannel, "error", err)
		}
		s.After(wait, func() { _ = s.Finish([]byte(newsText)) })
		return nil
	})
	if errors.Is(err, upgrade.ErrLeaving) {
		ctx.SetBodyString(waitingText + newsText)
		return nil
	}
	return err
}
