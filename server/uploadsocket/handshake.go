package uploadsocket

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"gale/server"
)

// Handshake looks at the head of a request that should become a WebSocket (RFC
// 6455 §4.2.1) and reports whether it is sound; any other it answers, or returns
// the error to be answered. The library would take any Sec-WebSocket-Key.
func Handshake(ctx *fasthttp.RequestCtx) (ok bool, err error) {
	h := &ctx.Request.Header
	switch {
	case !ctx.IsGet() || !websocket.FastHTTPIsWebSocketUpgrade(ctx):
		return false, upgradeRequired(ctx, "a WebSocket is taken here; POST sends a form, and the address of a list ends in a slash")
	case string(h.Peek("Sec-WebSocket-Version")) != "13":
		return false, upgradeRequired(ctx, "the only version of WebSocket here is 13")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(h.Peek("Sec-WebSocket-Key"))))
	if err != nil || len(key) != 16 {
		return false, server.Fail(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return true, nil
}

// upgradeRequired answers 426 (RFC 9110 §15.5.22), which must say to what; a
// server.Error has no such headers.
func upgradeRequired(ctx *fasthttp.RequestCtx, reason string) error {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderUpgrade, "websocket")
	h.Set(fasthttp.HeaderConnection, "Upgrade")
	h.Set("Sec-WebSocket-Version", "13")
	return server.WriteJSON(ctx, http.StatusUpgradeRequired, map[string]any{"code": http.StatusUpgradeRequired, "reason": reason})
}
