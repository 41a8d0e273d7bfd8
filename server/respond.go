package server

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/utf8text"
)

// WriteText responds with text as text/plain in UTF-8. Invalid bytes become U+FFFD.
func WriteText(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(utf8text.Repair(text))
}

// WriteJSON responds with v as JSON. It returns an error if v cannot be
// encoded; a handler should return that error, which becomes a 500 response. Invalid
// UTF-8 becomes U+FFFD, even in a json.RawMessage.
func WriteJSON(ctx *fasthttp.RequestCtx, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode response: %w", err)
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.Response.SetBodyRaw(utf8text.RepairJSON(data))
	return nil
}

// ErrorBody is the JSON body of an error response. Routes may have error bodies of their
// own.
type ErrorBody struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

func writeErrorBody(ctx *fasthttp.RequestCtx, status int, reason string) {
	// An int and a string can always be encoded.
	_ = WriteJSON(ctx, status, ErrorBody{Code: status, Reason: reason})
}
