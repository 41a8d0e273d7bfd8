// Command longpoll is a port of Tornado's demos/chat, a chat by long polling. A client
// sends a message with POST /a/message/new. It receives messages with POST
// /a/message/updates: the server sends the response when there is a new message. Clients
// get the messages of all processes. The server renders each message as HTML.
//
//	go run ./docs/example/longpoll -port 8000 -procs 2
//
// Then open http://127.0.0.1:8000/ in two browser windows.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

const (
	channel = "longpoll"            // name of the channel with the messages
	wait    = 25 * time.Second      // longest time without a response
	gather  = 50 * time.Millisecond // time after the first message in which others join its response
	most    = 100                   // limit of messages in a response
	maxBody = 4 << 10               // size limit of a message in bytes
)

//go:embed index.html
var page []byte

// row is the HTML of a message.
var row = template.Must(template.New("message").Parse(`<div class="message" id="m{{.Seq}}">{{.Data}}</div>`))

func main() { app.Main(application()) }

func application() app.Application {
	return app.Application{Name: "longpoll", Routes: func(s *app.Services) ([]server.Route, error) {
		c := &chat{channels: s.Channels, leaving: s.Leaving}
		return []server.Route{
			{Method: "GET", Path: "/", Handler: index},
			// Public: everybody may chat, also where -token is set.
			{Method: "POST", Path: "/a/message/new", Handler: c.newMessage, MaxBody: 4 * maxBody, Public: true},
			{Method: "POST", Path: "/a/message/updates", Handler: c.updates, MaxBody: maxBody, Public: true},
		}, nil
	}}
}

// index sends the page.
func index(ctx *fasthttp.RequestCtx) error {
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBody(page)
	return nil
}

type chat struct {
	channels *realtime.Bus
	leaving  <-chan struct{} // closed when this process begins to shut down
}

// newMessage publishes a message. All waiting requests get it, in all processes.
func (c *chat) newMessage(ctx *fasthttp.RequestCtx) error {
	var in struct {
		Body string `json:"body"`
	}
	if err := server.Bind(ctx, &in); err != nil {
		return err
	}
	if body := strings.TrimSpace(in.Body); body == "" || len(body) > maxBody {
		return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("body must have between 1 and %d bytes", maxBody))
	}
	id, err := c.channels.Publish(ctx, channel, []byte(in.Body))
	if err != nil {
		return err
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, message{ID: id})
}

// message is an element of the response of updates.
type message struct {
	ID   uint64 `json:"id"` // sequence number in the channel
	HTML string `json:"html,omitempty"`
}

// news is the response of updates. Cursor is the number of the last message that the
// client has then. The client sends it in its next request.
type news struct {
	Cursor   uint64    `json:"cursor"`
	Messages []message `json:"messages"`
}

// errDue ends the wait of updates: the response is due.
var errDue = errors.New("response is due")

// updates sends the messages after the client's cursor. If there are none, it waits until
// there is one. After the time in wait, and when the process shuts down, it sends an empty
// list, and the client asks again. Cursor 0 is the beginning of the history.
func (c *chat) updates(ctx *fasthttp.RequestCtx) error {
	var in struct {
		Cursor uint64 `json:"cursor" default:"0"`
	}
	if err := server.Bind(ctx, &in); err != nil {
		return err
	}
	gone, stop := server.Gone(ctx) // ends when the client disconnects
	defer stop()
	waiting, respond := context.WithCancelCause(gone)
	defer respond(nil)
	timer := time.AfterFunc(wait, func() { respond(errDue) })
	defer timer.Stop()
	go func() { // ends with waiting
		select {
		case <-c.leaving:
			respond(errDue)
		case <-waiting.Done():
		}
	}()
	out := news{Cursor: in.Cursor, Messages: []message{}}
	start := realtime.Start{Channel: channel, Resume: true, Since: in.Cursor}
	err := c.channels.Subscribe(waiting, start, func(e realtime.Event) error {
		if !e.Gap && len(out.Messages) == 0 {
			timer.Reset(gather) // messages that follow at once get into the same response
		}
		return out.add(e)
	})
	if cause := context.Cause(waiting); cause != nil {
		err = cause // Subscribe has another error if it was reading the history
	}
	if !errors.Is(err, errDue) {
		return err // the client has gone away, or channels are not available
	}
	return server.WriteJSON(ctx, fasthttp.StatusOK, out)
}

// add adds an event. It returns errDue when the list is full.
func (n *news) add(e realtime.Event) error {
	n.Cursor = e.Seq
	if e.Gap { // messages up to this number are no longer kept
		return nil
	}
	var html strings.Builder
	if err := row.Execute(&html, e); err != nil {
		return err
	}
	n.Messages = append(n.Messages, message{ID: e.Seq, HTML: html.String()})
	if len(n.Messages) == most {
		return errDue
	}
	return nil
}
