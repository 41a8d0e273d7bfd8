package console

import (
	"bytes"
	"context"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/server/realtime"
)

// Page returns the handler of the WebSocket of one page.
func (c *Console) Page() realtime.Handler { return page{c} }

// page hears what happens to the WebSocket of one page.
type page struct{ console *Console }

func (p page) Open(conn *realtime.Conn) {
	pages := p.console.enter(conn)
	p.console.opts.Logger.Debug("console opened", "client", conn.Client(), "pages", pages)
}

// Message refuses what a page has no reason to send.
func (page) Message(conn *realtime.Conn, _ realtime.Message) {
	conn.Close(websocket.ClosePolicyViolation, "nothing is taken here")
}

func (p page) Closed(conn *realtime.Conn, _ int, _ string) {
	pages := p.console.leave(conn)
	p.console.opts.Logger.Debug("console closed", "client", conn.Client(), "pages", pages)
}

// over is a context that has ended: what is sent with it goes where there is room
// for it, and is dropped where there is none. A page that does not read must not
// hold up the others.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// send sends a page what it has not of now, and returns what it has then: what
// there was no room for it is sent the next time, also if nothing changes any more.
func send(v viewer, now, has frames) frames {
	for i, part := range now {
		if len(part) > 0 && !bytes.Equal(part, has[i]) && v.Send(over, realtime.Message{Data: part}) == nil {
			has[i] = part
		}
	}
	return has
}
