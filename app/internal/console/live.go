package console

import (
	"bytes"
	"context"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/server/realtime"
)

// Page returns the handler of the WebSocket of one page.
func (c *Console) Page() realtime.Handler { return page{c} }

// page handles the WebSocket of one page.
type page struct{ console *Console }

func (p page) Open(conn *realtime.Conn) {
	pages := p.console.addPage(conn)
	p.console.opts.Logger.Debug("console opened", "client", conn.Client(), "pages", pages)
}

// Message closes the connection: a page sends no messages.
func (page) Message(conn *realtime.Conn, _ realtime.Message) {
	conn.Close(websocket.ClosePolicyViolation, "this WebSocket accepts no messages")
}

func (p page) Closed(conn *realtime.Conn, _ int, _ string) {
	pages := p.console.removePage(conn)
	p.console.opts.Logger.Debug("console closed", "client", conn.Client(), "pages", pages)
}

// ended is a context that is done. With it, Send fails at once if the connection has no room,
// so that a slow page does not delay the others.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// send sends a page the frames of now that differ from has, and returns the frames that the
// page then has. A frame that could not be sent is sent again the next time.
func send(v viewer, now, has frames) frames {
	for i, part := range now {
		if len(part) > 0 && !bytes.Equal(part, has[i]) && v.Send(ended, realtime.Message{Data: part}) == nil {
			has[i] = part
		}
	}
	return has
}
