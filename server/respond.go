package server

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/utf8text"
)

// WriteText answers with text: text/plain in UTF-8. Bytes that are not valid become
// U+FFFD.
func WriteText(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(utf8text.Repair(text))
}

// WriteJSON answers with v as JSON. What cannot be encoded is an error, for the
// handler to return: a 500, since v is the handler's own. What is not valid UTF-8
// becomes U+FFFD, also in a json.RawMessage.
func WriteJSON(ctx *fasthttp.RequestCtx, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.Response.SetBodyRaw(utf8text.RepairJSON(data))
	return nil
}

// errorBody is the body of every answer to an error.
type errorBody struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

func writeErrorBody(ctx *fasthttp.RequestCtx, status int, reason string) {
	// An int and a string can always be encoded.
	_ = WriteJSON(ctx, status, errorBody{Code: status, Reason: reason})
}
