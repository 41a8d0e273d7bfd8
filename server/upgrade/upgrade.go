// Package upgrade turns a request that fasthttp has parsed into a WebSocket (RFC
// 6455). The WebSocket uses only the connection; fasthttp's goroutine and buffers are
// released. All WebSockets of this project use this handshake.
//
//	request ──Read──► Handshake ──Take──► server.Taken ──Accept──► websocket.Conn
//
// The route's Admit checks the Origin of the request.
package upgrade

import (
	"bufio"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// ErrLeaving refuses a long-lived connection while the process shuts down.
var ErrLeaving = errors.New("the server is shutting down")

// Fields of the handshake (RFC 6455 §11.3), in fasthttp's spelling.
const (
	headerKey        = "Sec-Websocket-Key"
	headerVersion    = "Sec-Websocket-Version"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerExtensions = "Sec-Websocket-Extensions"
)

// Handshake is a valid request for a WebSocket. It is a copy, independent of fasthttp.
type Handshake struct {
	request        *http.Request
	responseHeader http.Header
	offered        []string // subprotocols
	deflate        bool     // the client offers compression
}

// Read checks the head of a request (RFC 6455 §4.2.1); the WebSocket library would
// accept any Sec-WebSocket-Key. A request for another version than 13, or without a
// WebSocket handshake, gets a 426 response, and Read returns nil and no error. reason
// is the reason in that response if there is no handshake. The error is a
// server.Error.
func Read(ctx *fasthttp.RequestCtx, reason string) (*Handshake, error) {
	h := &ctx.Request.Header
	upgrades := server.HasToken(h, fasthttp.HeaderConnection, "upgrade") && server.HasToken(h, fasthttp.HeaderUpgrade, "websocket")
	if !ctx.IsGet() || !h.IsHTTP11() || !upgrades {
		return nil, upgradeRequired(ctx, reason)
	}
	version, onceVersion := server.Single(h, headerVersion)
	given, onceKey := server.Single(h, headerKey)
	key, err := base64.StdEncoding.DecodeString(given)
	switch {
	case !onceVersion:
		return nil, server.Fail(http.StatusBadRequest, "Sec-WebSocket-Version is repeated")
	case version != "13":
		return nil, upgradeRequired(ctx, "the only supported WebSocket version is 13")
	case !onceKey:
		return nil, server.Fail(http.StatusBadRequest, "Sec-WebSocket-Key is repeated")
	case err != nil || len(key) != 16:
		return nil, server.Fail(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, headerVersion: {"13"},
		headerKey: {base64.StdEncoding.EncodeToString(key)},
	}}
	return &Handshake{
		request: r, responseHeader: http.Header{"X-Request-Id": {server.RequestID(ctx)}},
		offered: protocols(h), deflate: offersDeflate(server.List(h, headerExtensions)),
	}, nil
}

// upgradeRequired responds with 426, which must name the required protocol (RFC 9110
// §15.5.22).
func upgradeRequired(ctx *fasthttp.RequestCtx, reason string) error {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderUpgrade, "websocket")
	h.Set(fasthttp.HeaderConnection, "Upgrade")
	h.Set(headerVersion, "13")
	return server.WriteJSON(ctx, http.StatusUpgradeRequired, map[string]any{"code": http.StatusUpgradeRequired, "reason": reason})
}

// Take hands over the connection, see server.Take. take must not block, so call Accept
// on another goroutine. The error is for the handler to return.
func (*Handshake) Take(ctx *fasthttp.RequestCtx, take func(*server.Taken)) error {
	ctx.SetStatusCode(http.StatusSwitchingProtocols) // for metrics and the access log; Accept sends it
	return server.Take(ctx, take)
}

// Options configure a WebSocket. The zero value is the documented default.
type Options struct {
	// Protocols are the supported subprotocols. The first one that the client offers
	// and that is among them is confirmed. If there is none, the one with a token is
	// confirmed (see Bearer). Default: none.
	Protocols []string
	// ReadBuffer and WriteBuffer are sizes in bytes. Default 4 KiB.
	ReadBuffer, WriteBuffer int
	// WriteBuffers is a pool of write buffers. Nil: each connection has its own
	// buffer.
	WriteBuffers websocket.BufferPool
	// Timeout is the limit for writing the response of the handshake. Default: no
	// limit.
	Timeout time.Duration
	// Compress enables permessage-deflate (RFC 7692), without context takeover in
	// either direction, if the client offers it without server_max_window_bits.
	Compress bool
}

// Accept sends the response of the handshake on conn and resets its deadlines. It is
// called once. If it fails, the caller closes conn.
func (h *Handshake) Accept(conn net.Conn, o Options) (*websocket.Conn, error) {
	upgrader := websocket.Upgrader{
		ReadBufferSize: o.ReadBuffer, WriteBufferSize: o.WriteBuffer, WriteBufferPool: o.WriteBuffers,
		HandshakeTimeout: o.Timeout, EnableCompression: o.Compress && h.deflate,
		CheckOrigin: func(*http.Request) bool { return true }, // checked by the route's Admit
	}
	r, header, protocol := h.request, h.responseHeader, selectProtocol(h.offered, o.Protocols)
	*h = Handshake{} // frees the memory: the caller may keep h as long as the connection
	if protocol != "" {
		upgrader.Subprotocols = []string{protocol}
		r.Header.Set(headerProtocol, protocol)
	}
	if upgrader.EnableCompression {
		r.Header.Set(headerExtensions, deflateExtension)
	}
	return upgrader.Upgrade(&hijacker{&closeGuard{Conn: conn}}, r, header)
}

// hijacker passes the connection to the library.
type hijacker struct{ conn net.Conn }

func (*hijacker) Header() http.Header         { return http.Header{} }
func (*hijacker) Write(p []byte) (int, error) { return len(p), nil } // Read has responded to errors
func (*hijacker) WriteHeader(int)             {}
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_ = j.conn.SetDeadline(time.Time{})
	// The library allocates its own buffers in the configured sizes if these are too
	// small to use.
	return j.conn, bufio.NewReadWriter(bufio.NewReaderSize(j.conn, 16), bufio.NewWriterSize(j.conn, 16)), nil
}

// maxReason is the maximum length of a close reason, in bytes (RFC 6455 §5.5).
const maxReason = 123

// CloseFrame returns the payload of a close frame: a close code of RFC 6455 §7.4 and a
// reason, truncated to the maximum length.
func CloseFrame(code int, reason string) []byte {
	for len(reason) > maxReason || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, maxReason)]
	}
	return websocket.FormatCloseMessage(code, reason)
}
