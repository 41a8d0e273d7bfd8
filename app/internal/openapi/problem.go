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
		"code":   {Description: "HTTP status; uploads have codes of their own."},
		"reason": {Description: "What is wrong, for the user; it never holds the text of an internal error."},
	},
}

// problems are the statuses of errors, with what they mean here.
var problems = map[int]string{
	http.StatusBadRequest:            "The request cannot be read, is incomplete or has a value that is not allowed.",
	http.StatusUnauthorized:          "The token is missing or wrong.",
	http.StatusForbidden:             "A page of an origin that is not allowed sent the request, or the caller is not the administrator.",
	http.StatusNotFound:              "There is no such thing.",
	http.StatusConflict:              "The thing is not in the state for that.",
	http.StatusGone:                  "The thing was there and has ended.",
	http.StatusLengthRequired:        "The body has no length where one is needed.",
	http.StatusPreconditionFailed:    "A condition in the head of the request does not hold.",
	http.StatusRequestEntityTooLarge: "The body is larger than the limit of the route.",
	http.StatusUnsupportedMediaType:  "The body has a Content-Encoding or a type that the route does not take.",
	http.StatusLocked:                "Another request is using the thing: try again.",
	http.StatusUpgradeRequired:       "The request is not a WebSocket handshake.",
	http.StatusTooManyRequests:       "The client sends requests too often.",
	http.StatusServiceUnavailable:    "The server is full or about to end, or a store cannot be reached: try again.",
}

// problemFields are the fields of the responses of some statuses.
var problemFields = map[int]map[string]Header{
	http.StatusUnauthorized:       {"WWW-Authenticate": {Description: "How to authenticate: Bearer.", Required: true, Schema: Text()}},
	http.StatusTooManyRequests:    {"Retry-After": retryAfter},
	http.StatusServiceUnavailable: {"Retry-After": retryAfter},
	http.StatusUpgradeRequired:    {"Upgrade": {Description: "Protocol that the route speaks: websocket.", Required: true, Schema: Text()}},
}

var retryAfter = Header{Description: "Seconds to wait before the next attempt.", Required: true, Schema: &Schema{Type: "integer", Minimum: new(int)}}

// problem is the response of a status as a component.
func problem(status int) (name string, r *Response) {
	name = strings.ReplaceAll(http.StatusText(status), " ", "")
	return name, &Response{
		Description: problems[status], Headers: problemFields[status],
		Content: map[string]MediaType{"application/json": {Schema: Ref(ErrorName)}},
	}
}

// otherName is the name of the response of every status that an operation does not name.
const otherName = "OtherError"

var other = &Response{
	Description: "Any other error.", Content: map[string]MediaType{"application/json": {Schema: Ref(ErrorName)}},
}

// refer adds references to the responses of problems to an operation, and the responses
// to the components. Those that the operation has already stay.
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
