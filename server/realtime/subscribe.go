package realtime

import (
	"context"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/server/upgrade"
)

// Subscribe lets the connection have a channel's messages from a place on, in a
// form; tell, if it is given, is sent first and says which place that is. A
// connection has one subscription at most. The error wraps ErrChannel, ErrAway or
// ErrClosed.
func (c *Conn) Subscribe(ctx context.Context, b *Bus, start Start, form *Form, announce func(Position) []byte) error {
	s := &subscription{box: &c.outbox, form: form, wrap: prepare, onGap: c.gapItem}
	place, err := b.subscribe(ctx, start, s)
	if err == nil && announce != nil {
		if err = c.send(ctx, item{kind: websocket.TextMessage, data: announce(place)}); err != nil {
			s.stop()
		}
	}
	if err != nil {
		return err
	}
	if err := c.attach(s); err != nil {
		s.stop()
		return err
	}
	return nil
}

// prepare makes a text message that is encoded once for all who get it.
func prepare(data []byte) item {
	p, err := websocket.NewPreparedMessage(websocket.TextMessage, data)
	if err != nil { // cannot be: nothing is written to anywhere
		return item{kind: websocket.TextMessage, data: data}
	}
	return item{kind: websocket.TextMessage, prepared: p}
}

// lost closes a connection that lost messages and whose form cannot say so.
func (c *Conn) gapItem() item {
	const reason = "messages are lost, connect again"
	c.setCloseReason(websocket.CloseTryAgainLater, reason)
	c.hub.opts.Logger.Warn("channel messages lost, connection closed", "client", c.client)
	return item{kind: websocket.CloseMessage, data: upgrade.CloseFrame(websocket.CloseTryAgainLater, reason), final: true}
}
