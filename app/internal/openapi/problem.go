package openapi

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/galeserver/gale/server"
)

// ErrorName is the name of the schema of an error.
const ErrorName = "Error"

var errorType = Type{
	Name: ErrorName, Description: "Body of the response to a request that failed.", Go: reflect.TypeFor[server.ErrorBody](),
	Fields: map[string]Schema{
		"code":   {Description: "HTTP status, or a code of uploads."},
		"reason": {Description: "Reason, as a text for the user; never the text of an internal error."},
	},
}

// problems are the descriptions of error responses, by status.
var problems = map[int]string{
	http.StatusBadRequest:            "The request is malformed or incomplete, or a value is not allowed.",
	http.StatusUnauthorized:          "The token is missing or wrong.",
	http.StatusForbidden:             "The request was sent by a page of an origin that is not allowed, or the sender is not the administrator.",
	http.StatusNotFound:              "The resource does not exist.",
	http.StatusConflict:              "The state of the resource does not allow the request.",
	http.StatusGone:                  "The resource no longer exists.",
	http.StatusLengthRequired:        "The request needs a Content-Length.",
	http.StatusPreconditionFailed:    "A condition in a header field of the request is false.",
	http.StatusRequestEntityTooLarge: "The body is larger than the limit of the route.",
	http.StatusUnsupportedMediaType:  "The route does not accept the Content-Encoding or the media type of the body.",
	http.StatusLocked:                "Another request is using the resource; try again.",
	http.StatusUpgradeRequired:       "The request is not a WebSocket handshake.",
	http.StatusTooManyRequests:       "The client has sent too many requests.",
	http.StatusServiceUnavailable:    "The server is overloaded or shutting down, or a store is not available; try again.",
}

// problemFields are the header fields of error responses, by status.
var problemFields = map[int]map[string]Header{
	http.StatusUnauthorized:       {"WWW-Authenticate": {Description: "Authentication scheme: Bearer.", Required: true, Schema: Text()}},
	http.StatusTooManyRequests:    {"Retry-After": retryAfter},
	http.StatusServiceUnavailable: {"Retry-After": retryAfter},
	http.StatusUpgradeRequired:    {"Upgrade": {Description: "Protocol of the route: websocket.", Required: true, Schema: Text()}},
}

var retryAfter = Header{Description: "Seconds to wait before the next attempt.", Required: true, Schema: &Schema{Type: "integer", Minimum: new(int)}}

// problem returns the error response with a status, and its name among the components.
func problem(status int) (name string, r *Response) {
	name = strings.ReplaceAll(http.StatusText(status), " ", "")
	return name, &Response{
		Description: problems[status], Headers: problemFields[status],
		Content: map[string]MediaType{"application/json": {Schema: Ref(ErrorName)}},
	}
}

// otherName is the name of the response for all statuses that an operation does not list.
const otherName = "OtherError"

var other = &Response{
	Description: "Any other error.", Content: map[string]MediaType{"application/json": {Schema: Ref(ErrorName)}},
}

// refer adds references to error responses to an operation, and these responses to the
// components. Responses that the operation already has are kept.
func (b *builder) refer(op *Operation, statuses []int) {
	for _, status := range statuses {
		name, r := problem(status)
		code := strconv.Itoa(status)
		if op.Responses[code] == nil {
			b.doc.Components.Responses[name] = r
			op.Responses[code] = &Response{Ref: "#/components/responses/" + name}
		}
	}
	b.doc.Components.Responses[otherName] = other
	if op.Responses["default"] == nil {
		op.Responses["default"] = &Response{Ref: "#/components/responses/" + otherName}
	}
}
