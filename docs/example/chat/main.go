// Command chat is Tornado's chat demo: a page, and a WebSocket at /chatsocket. The
// messages of all processes reach all clients, and who comes later gets the last ones.
//
//	go run ./docs/example/chat -port 8000 -procs 2
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
	channel = "chat"
	maxBody = 4 << 10 // bytes of a message
)

//go:embed index.html
var page []byte

func main() {
	app.Main(app.Application{Name: "chat", Routes: func(s *app.Services) ([]server.Route, error) {
		return []server.Route{
			{Method: "GET", Path: "/", Handler: index},
			{Method: "GET", Path: "/chatsocket", Handler: func(ctx *fasthttp.RequestCtx) error {
				return s.Hub.Upgrade(ctx, realtime.Upgrade{Handler: &client{s.Channels}})
			}},
		}, nil
	}})
}

func index(ctx *fasthttp.RequestCtx) error {
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBody(page)
	return nil
}

// message is what clients send and receive; the id is the server's.
type message struct {
	ID   uint64 `json:"id,omitempty"`
	Body string `json:"body"`
}

// client is one WebSocket.
type client struct{ channels *realtime.Bus }

// form makes a message of an event of the channel. Of messages that are not kept any
// more there is nothing to show.
var form = &realtime.Form{Encode: func(e realtime.Event) []byte {
	m := message{e.Seq, e.Data}
	if e.Gap {
		m.Body = "(earlier messages are gone)"
	}
	text, _ := json.Marshal(m) // a number and a string always can be
	return text
}}

// Open subscribes the client, from the oldest message that is kept.
func (c *client) Open(conn *realtime.Conn) {
	start := realtime.Start{Channel: channel, Resume: true}
	if err := conn.Subscribe(context.Background(), c.channels, start, form, nil); err != nil {
		conn.Close(websocket.CloseTryAgainLater, "the chat cannot be reached now")
	}
}

// Message publishes what the client sends.
func (c *client) Message(conn *realtime.Conn, m realtime.Message) {
	var in message
	switch err := json.Unmarshal(m.Data, &in); {
	case err != nil || strings.TrimSpace(in.Body) == "":
		conn.Close(websocket.ClosePolicyViolation, `send {"body":"…"}`)
	case len(in.Body) > maxBody:
		conn.Close(websocket.CloseMessageTooBig, "a message is too long")
	default:
		if _, err := c.channels.Publish(context.Background(), channel, []byte(in.Body)); err != nil {
			conn.Close(websocket.CloseTryAgainLater, "the message was not sent")
		}
	}
}

// Closed is called when the connection is over.
func (*client) Closed(*realtime.Conn, int, string) {}
