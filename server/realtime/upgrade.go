package realtime

import (
	"net/netip"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// What a connection reads into while it is idle, and what it is written from;
// what is longer than the first goes past it.
const (
	readBuffer  = 256
	writeBuffer = 4 << 10
)

// writeBuffers are shared by all connections that are writing.
var writeBuffers sync.Pool

// Upgrade is what becomes of a request.
type Upgrade struct {
	// Handler gets the connection's events.
	Handler Handler
	// Protocols are the subprotocols spoken here, see upgrade.Options.
	Protocols []string
}

// Upgrade turns a request into a WebSocket. The error is for the handler to
// return: upgrade.ErrLeaving, or a server.Error of what is wrong with the
// handshake.
func (h *Hub) Upgrade(ctx *fasthttp.RequestCtx, u Upgrade) error {
	if h.isDraining() {
		return upgrade.ErrLeaving
	}
	handshake, err := upgrade.Read(ctx, "a WebSocket is spoken here")
	if handshake == nil || err != nil {
		return err
	}
	client := server.Client(ctx)
	return handshake.Take(ctx, func(t *server.Taken) {
		c := newConn(h, t, u.Handler, client)
		if err := h.add(c); err != nil {
			_ = t.Close() // it came in the instant in which the server began to leave
			return
		}
		h.goroutines.Go(func() { // ends when the handshake is done
			ws, err := handshake.Accept(c.net, upgrade.Options{
				Protocols: u.Protocols, ReadBuffer: readBuffer, WriteBuffer: writeBuffer, WriteBuffers: &writeBuffers,
				Timeout: h.opts.SendTimeout, Compress: h.opts.Compress,
			})
			if err != nil {
				_ = t.Close()
				h.remove(c)
				return
			}
			c.afterHandshake(ws)
			// What has come until here needs a larger stack than waiting does, and
			// a goroutine keeps what it had.
			h.goroutines.Go(c.readLoop) // ends with the connection
		})
	})
}

// Client is the address that the connection came from.
func (c *Conn) Client() netip.Addr { return c.client }
