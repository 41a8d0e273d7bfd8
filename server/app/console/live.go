package console

import (
	"context"

	"github.com/fasthttp/websocket"

	"gale/server/realtime"
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
// hold up the others, and what it misses is old a second later.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func send(v viewer, all []realtime.Message) {
	for _, m := range all {
		_ = v.Send(over, m) // see over; that it is closed Closed hears
	}
}
