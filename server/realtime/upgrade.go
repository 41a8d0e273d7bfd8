package realtime

import (
	"net/netip"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// Sizes of the buffers of the library. Its read buffer must be large enough for a control
// frame. Longer reads bypass it.
const (
	readBuffer  = 125
	writeBuffer = 4 << 10
)

// writeBuffers are shared by all connections.
var writeBuffers sync.Pool

// Upgrade configures a WebSocket.
type Upgrade struct {
	// Handler gets the connection's events.
	Handler Handler
	// Protocols are the supported subprotocols, see upgrade.Options.
	Protocols []string
}

// Upgrade turns a request into a WebSocket. The caller must have checked the Origin of the
// request. The handler must return the error, which is upgrade.ErrLeaving or a
// server.Error about the handshake.
func (h *Hub) Upgrade(ctx *fasthttp.RequestCtx, u Upgrade) error {
	if h.isDraining() {
		return upgrade.ErrLeaving
	}
	handshake, err := upgrade.Read(ctx, "this path needs a WebSocket handshake")
	if handshake == nil || err != nil {
		return err
	}
	client := server.Client(ctx)
	return handshake.Take(ctx, func(t *server.Taken) {
		c := newConn(h, t, u.Handler, client)
		if err := h.add(c); err != nil {
			_ = t.Close() // the process has begun to shut down in the meantime
			return
		}
		h.goroutines.Go(func() { // ends when the handshake is done
			ws, err := handshake.Accept(&c.net, upgrade.Options{
				Protocols: u.Protocols, ReadBuffer: readBuffer, WriteBuffer: writeBuffer, WriteBuffers: &writeBuffers,
				Timeout: h.opts.SendTimeout, Compress: h.opts.Compress, Exact: c.net.plain,
			})
			if err != nil {
				_ = t.Close()
				h.remove(c)
				return
			}
			c.afterHandshake(ws)
			if t.Buffered() > 0 || !h.parking.park(c) {
				// The handshake needs a large stack, and a goroutine does not soon free the
				// memory of its stack. Reading needs only a small stack, so a new goroutine
				// reads.
				h.goroutines.Go(func() { c.readLoop(nil) }) // ends when c is parked or closed
			}
		})
	})
}

// Client returns the address of the client.
func (c *Conn) Client() netip.Addr { return c.client }
