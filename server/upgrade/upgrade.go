// Package upgrade makes a WebSocket (RFC 6455) of a request that fasthttp has
// parsed, on the connection alone: fasthttp's goroutine and buffers are given
// back. There is one way to do so for all who speak WebSocket here.
//
//	request ──Read──► Handshake ──Take──► server.Taken ──Accept──► websocket.Conn
//
// Whose page the request comes from (Origin) is for the route's Admit to look at.
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

// ErrLeaving refuses a connection that would live long while the process is about
// to end.
var ErrLeaving = errors.New("the server is about to end")

// Fields of the handshake (RFC 6455 §11.3), as fasthttp spells them.
const (
	headerKey        = "Sec-Websocket-Key"
	headerVersion    = "Sec-Websocket-Version"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerExtensions = "Sec-Websocket-Extensions"
)

// Handshake is a sound request for a WebSocket, as copied from fasthttp.
type Handshake struct {
	request        *http.Request
	responseHeader http.Header
	offered        []string // subprotocols
	deflate        bool     // compression is offered
}

// Read looks at the head of a request (RFC 6455 §4.2.1): the library would take
// any Sec-WebSocket-Key. A request that is none for a WebSocket of version 13 has
// been answered with 426 when Read returns nil and no error; instead is what it
// is told if it asks for no WebSocket at all. The error is a server.Error.
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
		return nil, upgradeRequired(ctx, "the only version of WebSocket here is 13")
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

// required answers 426 (RFC 9110 §15.5.22), which must say to what.
func upgradeRequired(ctx *fasthttp.RequestCtx, reason string) error {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderUpgrade, "websocket")
	h.Set(fasthttp.HeaderConnection, "Upgrade")
	h.Set(headerVersion, "13")
	return server.WriteJSON(ctx, http.StatusUpgradeRequired, map[string]any{"code": http.StatusUpgradeRequired, "reason": reason})
}

// Take hands the connection over, see server.Take: take must not block, so
// Accept is for a goroutine of its own. The error is for the handler to return.
func (*Handshake) Take(ctx *fasthttp.RequestCtx, take func(*server.Taken)) error {
	ctx.SetStatusCode(http.StatusSwitchingProtocols) // Accept sends it; this is for the figures
	return server.Take(ctx, take)
}

// Options are how a WebSocket is spoken. The zero value is the documented default.
type Options struct {
	// Protocols are the subprotocols spoken here; of those that the client offers
	// the first that is among them is confirmed. If there is none, the one that
	// carries a token is (see Bearer). Default: none.
	Protocols []string
	// ReadBuffer and WriteBuffer are sizes in bytes. Default 4 KiB.
	ReadBuffer, WriteBuffer int
	// WriteBuffers are where write buffers come from. Nil: each connection has
	// its own.
	WriteBuffers websocket.BufferPool
	// Timeout is how long the client may take to make room for the answer.
	// Default: as long as conn lets it.
	Timeout time.Duration
	// Compress takes permessage-deflate (RFC 7692), without context takeover in
	// either direction, where the client offers it with parameters that can be
	// honoured: any but server_max_window_bits.
	Compress bool
}

// Accept answers the handshake on conn, whose deadlines are reset. It is called
// once; conn stays the caller's if it fails.
func (h *Handshake) Accept(conn net.Conn, o Options) (*websocket.Conn, error) {
	upgrader := websocket.Upgrader{
		ReadBufferSize: o.ReadBuffer, WriteBufferSize: o.WriteBuffer, WriteBufferPool: o.WriteBuffers,
		HandshakeTimeout: o.Timeout, EnableCompression: o.Compress && h.deflate,
		CheckOrigin: func(*http.Request) bool { return true }, // the route's Admit has
	}
	r, header, protocol := h.request, h.responseHeader, selectProtocol(h.offered, o.Protocols)
	*h = Handshake{} // or it might live as long as the connection
	if protocol != "" {
		upgrader.Subprotocols = []string{protocol}
		r.Header.Set(headerProtocol, protocol)
	}
	if upgrader.EnableCompression {
		r.Header.Set(headerExtensions, deflateExtension)
	}
	return upgrader.Upgrade(&hijacker{&closeGuard{Conn: conn}}, r, header)
}

// hijacker gives the library the connection that has been taken from fasthttp.
type hijacker struct{ conn net.Conn }

func (*hijacker) Header() http.Header         { return http.Header{} }
func (*hijacker) Write(p []byte) (int, error) { return len(p), nil } // errors were answered before
func (*hijacker) WriteHeader(int)             {}
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_ = j.conn.SetDeadline(time.Time{})
	// The library makes its own buffers, of the sizes that it is told, beside
	// buffers as small as these.
	return j.conn, bufio.NewReadWriter(bufio.NewReaderSize(j.conn, 16), bufio.NewWriterSize(j.conn, 16)), nil
}

// maxReason is how long the reason of a close may be, in bytes (RFC 6455 §5.5).
const maxReason = 123

// CloseFrame is the payload of a close frame: a code of RFC 6455 §7.4 and a
// reason, cut to what fits.
func CloseFrame(code int, reason string) []byte {
	for len(reason) > maxReason || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, maxReason)]
	}
	return websocket.FormatCloseMessage(code, reason)
}
