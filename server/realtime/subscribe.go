package realtime

import (
	"context"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/server/upgrade"
)

// Subscribe subscribes the connection to a channel from start on. form encodes the
// messages. If announce is not nil, the connection sends its result for the position as a
// text message before the first channel message. A connection has at most one
// subscription; a second call returns ErrClosed. The error wraps ErrChannel, ErrAway or
// ErrClosed, or is the cause of ctx.
func (c *Conn) Subscribe(ctx context.Context, b *Bus, start Start, form *Form, announce func(Position) []byte) error {
	s := &subscription{box: &c.outbox, form: form, wrap: c.prepare, onGap: c.gapItem}
	position, err := b.subscribe(ctx, start, s)
	if err == nil && announce != nil {
		if err = c.send(ctx, item{kind: websocket.TextMessage, data: announce(position)}); err != nil {
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

// prepare makes a text message that is encoded once for all subscribers.
func (c *Conn) prepare(data []byte) item {
	if !c.hub.opts.Compress {
		return item{kind: websocket.TextMessage, shared: newFrame(websocket.TextMessage, data)}
	}
	p, err := websocket.NewPreparedMessage(websocket.TextMessage, data)
	if err != nil { // cannot happen: the library writes to memory only
		return item{kind: websocket.TextMessage, data: data}
	}
	return item{kind: websocket.TextMessage, prepared: p}
}

// gapItem closes a connection whose form cannot encode a gap.
func (c *Conn) gapItem() item {
	const reason = "messages lost, connect again"
	c.setCloseReason(websocket.CloseTryAgainLater, reason)
	c.hub.opts.Logger.Warn("channel messages lost, connection closed", "client", c.client)
	return item{kind: websocket.CloseMessage, data: upgrade.CloseFrame(websocket.CloseTryAgainLater, reason), final: true}
}
