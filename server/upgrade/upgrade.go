// Package upgrade does the WebSocket handshake (RFC 6455) for a request that fasthttp has
// parsed. After it, the WebSocket needs only the connection: the goroutine and the buffers
// of fasthttp are released. All WebSockets of this project use this package.
//
//	request ──Read──► Handshake ──Take──► server.Taken ──Accept──► websocket.Conn
//
// This package does not check the Origin of the request. The Admit function of the route
// must do that.
package upgrade

import (
	"bufio"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// ErrLeaving is the error for a new long-lived connection while the process shuts down.
var ErrLeaving = errors.New("the server is shutting down")

// Header fields of the handshake (RFC 6455 §11.3), as fasthttp spells them.
const (
	headerKey        = "Sec-Websocket-Key"
	headerVersion    = "Sec-Websocket-Version"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerExtensions = "Sec-Websocket-Extensions"
)

// headerID is the header field of the response with the id of the request.
const headerID = "X-Request-Id"

// Handshake is a valid request for a WebSocket. It is a copy, so it can be used after
// fasthttp has released the request.
type Handshake struct {
	exchange *exchange
	offered  []string // subprotocols that the client offers
	deflate  bool     // true if the client offers compression
}

// exchange is the request for the library and the header of the response. They are used again
// for later handshakes: otherwise each handshake would leave more than a kilobyte of garbage
// between the objects of connections, and its memory could not be returned to the system while
// they are open.
type exchange struct {
	request        *http.Request
	responseHeader http.Header
}

var exchanges = sync.Pool{New: func() any {
	return &exchange{
		&http.Request{Method: http.MethodGet, Header: http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, headerVersion: {"13"}, headerKey: {""},
		}},
		http.Header{headerID: {""}},
	}
}}

// Read checks the header of a request (RFC 6455 §4.2.1). It is stricter than the WebSocket
// library, which accepts any Sec-WebSocket-Key.
//
// If the request has no WebSocket handshake, or one for another version than 13, Read
// writes a 426 response and returns nil and no error. reason is the reason in that response
// if there is no handshake. For a malformed handshake the error is a server.Error with
// status 400.
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
	e := exchanges.Get().(*exchange)
	e.request.Header[headerKey][0] = base64.StdEncoding.EncodeToString(key)
	e.responseHeader[headerID][0] = server.RequestID(ctx)
	return &Handshake{exchange: e, offered: protocols(h), deflate: offersDeflate(server.List(h, headerExtensions))}, nil
}

// upgradeRequired writes a 426 response. It must have the required protocol in Upgrade (RFC
// 9110 §15.5.22).
func upgradeRequired(ctx *fasthttp.RequestCtx, reason string) error {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderUpgrade, "websocket")
	h.Set(fasthttp.HeaderConnection, "Upgrade")
	h.Set(headerVersion, "13")
	return server.WriteJSON(ctx, http.StatusUpgradeRequired, server.ErrorBody{Code: http.StatusUpgradeRequired, Reason: reason})
}

// Take takes the connection from the server and passes it to take, see server.Take. take
// must not block, so it must call Accept on another goroutine. The handler must return the
// error.
func (*Handshake) Take(ctx *fasthttp.RequestCtx, take func(*server.Taken)) error {
	ctx.SetStatusCode(http.StatusSwitchingProtocols) // for metrics and the access log; Accept sends it
	return server.Take(ctx, take)
}

// Options configure a WebSocket. The zero value is the documented default.
type Options struct {
	// Protocols are the supported subprotocols. Accept confirms the first subprotocol
	// offered by the client that is supported. If there is none, it confirms the one with
	// a token (see Bearer). Default: none.
	Protocols []string
	// ReadBuffer and WriteBuffer are the sizes of the buffers, in bytes. Default 4 KiB.
	ReadBuffer, WriteBuffer int
	// WriteBuffers is a pool of write buffers. Nil: each connection has its own
	// buffer.
	WriteBuffers websocket.BufferPool
	// Timeout is the time limit for writing the response of the handshake. Default: no
	// limit.
	Timeout time.Duration
	// Compress enables permessage-deflate (RFC 7692), without context takeover in
	// either direction, if the client offers it without server_max_window_bits.
	// Default: no compression.
	Compress bool
	// Exact limits each read from the connection to the header or the payload of one frame.
	// When a message has been read, no bytes of the next frame are in the buffer of the
	// library (see BetweenMessages). This needs several reads for each frame, so the
	// connection should have a buffer of its own. Default: reads of any length.
	Exact bool
}

// Accept sends the response of the handshake on conn and removes the deadlines of conn. It
// must be called only once. After an error the caller must close conn.
func (h *Handshake) Accept(conn net.Conn, o Options) (*websocket.Conn, error) {
	upgrader := websocket.Upgrader{
		ReadBufferSize: o.ReadBuffer, WriteBufferSize: o.WriteBuffer, WriteBufferPool: o.WriteBuffers,
		HandshakeTimeout: o.Timeout, EnableCompression: o.Compress && h.deflate,
		CheckOrigin: func(*http.Request) bool { return true }, // checked by the route's Admit
	}
	e, protocol := h.exchange, selectProtocol(h.offered, o.Protocols)
	*h = Handshake{} // frees its memory even if the caller keeps h
	header := e.request.Header
	delete(header, headerProtocol) // of an earlier handshake
	delete(header, headerExtensions)
	if protocol != "" {
		upgrader.Subprotocols = []string{protocol}
		header.Set(headerProtocol, protocol)
	}
	if upgrader.EnableCompression {
		header.Set(headerExtensions, deflateExtension)
	}
	defer exchanges.Put(e) // the library keeps none of it
	return upgrader.Upgrade(&hijacker{&closeGuard{Conn: conn, exact: o.Exact}}, e.request, e.responseHeader)
}

// hijacker is the http.ResponseWriter through which the library gets the connection.
type hijacker struct{ conn net.Conn }

func (*hijacker) Header() http.Header         { return http.Header{} }
func (*hijacker) Write(p []byte) (int, error) { return len(p), nil } // only for errors, which Handshake.Read has already excluded
func (*hijacker) WriteHeader(int)             {}
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_ = j.conn.SetDeadline(time.Time{})
	// These buffers are too small for the library, so it allocates its own ones in the
	// configured sizes.
	return j.conn, bufio.NewReadWriter(bufio.NewReaderSize(j.conn, 16), bufio.NewWriterSize(j.conn, 16)), nil
}

// maxReason is the maximum length of a close reason, in bytes (RFC 6455 §5.5).
const maxReason = 123

// CloseFrame returns the payload of a close frame: a close code of RFC 6455 §7.4 and a
// reason, which is truncated to 123 bytes of valid UTF-8.
func CloseFrame(code int, reason string) []byte {
	for len(reason) > maxReason || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, maxReason)]
	}
	return websocket.FormatCloseMessage(code, reason)
}
