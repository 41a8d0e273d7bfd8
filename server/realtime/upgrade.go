package realtime

import (
	"bufio"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"gale/server"
)

// Fields of the handshake (RFC 6455 §11.3), as fasthttp spells them.
const (
	headerKey        = "Sec-Websocket-Key"
	headerVersion    = "Sec-Websocket-Version"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerExtensions = "Sec-Websocket-Extensions"
)

// readBuffer is what an idle connection reads into; what is longer goes past it.
const readBuffer = 512

// writeBuffers are shared by all connections that are writing.
var writeBuffers sync.Pool

// Upgrade is what becomes of a request.
type Upgrade struct {
	// Handler gets the connection's events.
	Handler Handler
	// Protocols are the subprotocols spoken here; of those that the client offers
	// the first that is among them is chosen. Default: none.
	Protocols []string
}

// Upgrade turns a request into a WebSocket. The error is for the handler to
// return: ErrLeaving, or a server.Error of what is wrong with the handshake (RFC
// 6455 §4.2.1), which is checked here since the library takes any key. The
// connection's goroutine begins fresh, with fasthttp's buffers given back.
func (h *Hub) Upgrade(ctx *fasthttp.RequestCtx, u Upgrade) error {
	if h.refuses() {
		return ErrLeaving
	}
	r, err := handshake(ctx)
	if r == nil || err != nil {
		return err
	}
	client := server.Client(ctx)
	header := http.Header{"X-Request-Id": {server.RequestID(ctx)}}
	ctx.SetStatusCode(http.StatusSwitchingProtocols)
	return server.Take(ctx, func(t *server.Taken) {
		c := newConn(h, t, u.Handler, client)
		if err := h.add(c); err != nil {
			_ = t.Close() // it came in the instant in which the server began to leave
			return
		}
		h.work.Go(func() { // ends with the connection
			defer h.remove(c)
			upgrader := websocket.Upgrader{
				ReadBufferSize: readBuffer, WriteBufferSize: 4 << 10, WriteBufferPool: &writeBuffers, Subprotocols: u.Protocols,
				HandshakeTimeout: h.opts.SendTimeout, EnableCompression: h.opts.Compress,
				CheckOrigin: func(*http.Request) bool { return true }, // the caller has
			}
			ws, err := upgrader.Upgrade(&hijacker{conn: c.net}, r, header)
			if err != nil {
				_ = t.Close()
				return
			}
			r, header = nil, nil // or they would live as long as the connection
			c.run(ws)
		})
	})
}

// handshake checks a request and returns it as the library takes it; nil if it
// has been answered.
func handshake(ctx *fasthttp.RequestCtx) (*http.Request, error) {
	h := &ctx.Request.Header
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(h.Peek(headerKey))))
	switch {
	case !ctx.IsGet() || !h.IsHTTP11() || !websocket.FastHTTPIsWebSocketUpgrade(ctx):
		return nil, upgradeRequired(ctx, "a WebSocket is spoken here")
	case string(h.Peek(headerVersion)) != "13":
		return nil, upgradeRequired(ctx, "the only version of WebSocket here is 13")
	case err != nil || len(key) != 16:
		return nil, server.Fail(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, headerVersion: {"13"},
		headerKey: {base64.StdEncoding.EncodeToString(key)},
	}}
	for _, name := range []string{headerProtocol, headerExtensions} {
		for _, value := range h.PeekAll(name) {
			r.Header.Add(name, string(value))
		}
	}
	return r, nil
}

// upgradeRequired answers 426 (RFC 9110 §15.5.22), which must say to what.
func upgradeRequired(ctx *fasthttp.RequestCtx, reason string) error {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderUpgrade, "websocket")
	h.Set(fasthttp.HeaderConnection, "Upgrade")
	h.Set("Sec-WebSocket-Version", "13")
	return server.WriteJSON(ctx, http.StatusUpgradeRequired, map[string]any{"code": http.StatusUpgradeRequired, "reason": reason})
}

// hijacker gives the library the connection that has been taken from fasthttp.
type hijacker struct{ conn net.Conn }

func (*hijacker) Header() http.Header         { return http.Header{} }
func (*hijacker) Write(p []byte) (int, error) { return len(p), nil } // errors were answered before
func (*hijacker) WriteHeader(int)             {}
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_ = j.conn.SetDeadline(time.Time{})
	return j.conn, bufio.NewReadWriter(bufio.NewReaderSize(j.conn, 16), bufio.NewWriterSize(j.conn, 16)), nil
}

// Client is the address that the connection came from.
func (c *Conn) Client() netip.Addr { return c.client }
