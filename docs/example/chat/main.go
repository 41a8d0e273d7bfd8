// Command chat is a port of Tornado's demos/websocket: a page, and a WebSocket at /chatsocket.
// Each client gets the messages of all clients, no matter which process they are connected
// to. A new client first gets the latest messages.
//
//	go run ./docs/example/chat -port 8000 -procs 2
//
// Then open http://127.0.0.1:8000/ in two browser windows.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"strings"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

const (
	channel = "chat"  // name of the channel that all clients subscribe to
	maxBody = 4 << 10 // size limit of a message in bytes
)

//go:embed index.html
var page []byte

func main() {
	app.Main(app.Application{Name: "chat", Routes: func(s *app.Services) ([]server.Route, error) {
		return []server.Route{
			{Method: "GET", Path: "/", Handler: index},
			// A WebSocket begins as a GET request. The hub upgrades the request to
			// a WebSocket and then calls the methods of client. Each connection
			// has its own client.
			{Method: "GET", Path: "/chatsocket", Handler: func(ctx *fasthttp.RequestCtx) error {
				return s.Hub.Upgrade(ctx, realtime.Upgrade{Handler: &client{channels: s.Channels}})
			}},
		}, nil
	}})
}

// index sends the page.
func index(ctx *fasthttp.RequestCtx) error {
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBody(page)
	return nil
}

// message is the JSON of a message in both directions.
type message struct {
	ID   uint64 `json:"id,omitempty"` // sequence number in the channel, set by the server
	Body string `json:"body"`
}

// client handles one WebSocket connection.
type client struct{ channels *realtime.Bus }

// form converts an event of the channel to the message that is sent to the clients. It
// is one variable for all connections, so that each event is encoded only once.
var form = &realtime.Form{Encode: func(e realtime.Event) []byte {
	m := message{ID: e.Seq, Body: e.Data}
	if e.Gap {
		// A channel keeps a limited number of messages. The client has missed
		// messages that the channel no longer has.
		m.Body = "(earlier messages are not available)"
	}
	text, _ := json.Marshal(m) // cannot fail for this struct
	return text
}}

// Open is called after the handshake. It subscribes the client to the channel. Resume
// without a sequence number begins with the oldest message that the channel keeps.
func (c *client) Open(conn *realtime.Conn) {
	start := realtime.Start{Channel: channel, Resume: true}
	if err := conn.Subscribe(context.Background(), c.channels, start, form, nil); err != nil {
		conn.Close(websocket.CloseTryAgainLater, "cannot subscribe, try again later")
	}
}

// Message is called for each message from the client. It publishes the message. The
// client gets it back through its own subscription.
func (c *client) Message(conn *realtime.Conn, m realtime.Message) {
	var in message
	switch err := json.Unmarshal(m.Data, &in); {
	case err != nil || strings.TrimSpace(in.Body) == "":
		conn.Close(websocket.ClosePolicyViolation, `send {"body":"…"}`)
	case len(in.Body) > maxBody:
		conn.Close(websocket.CloseMessageTooBig, "message too long")
	default:
		if _, err := c.channels.Publish(context.Background(), channel, []byte(in.Body)); err != nil {
			conn.Close(websocket.CloseTryAgainLater, "message not sent, try again later")
		}
	}
}

// Closed is called last. There is nothing to clean up: the subscription ends with the
// connection.
func (*client) Closed(*realtime.Conn, int, string) {}
