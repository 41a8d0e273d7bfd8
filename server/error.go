package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/galeserver/gale/pool"

	"github.com/valyala/fasthttp"
)

// Error is an error that a handler returns to choose the response. The body of the
// response is {"code":Status,"reason":Reason}.
type Error struct {
	Status int    // 400 to 599
	Reason string // for the client; default: the text of the status
	// RetryAfter becomes the field Retry-After, in seconds, rounded up. Default: no
	// such field.
	RetryAfter time.Duration
	// Challenge becomes the field WWW-Authenticate, which a 401 response must have
	// (RFC 9110 §15.5.2).
	Challenge string
	Err       error // cause, for the log of 5xx responses; clients never see it

	allow          string // value of the field Allow
	acceptEncoding string // value of the field Accept-Encoding
}

// Fail returns an *Error with status and reason, for a handler to return.
func Fail(status int, reason string) error { return &Error{Status: status, Reason: reason} }

func (e *Error) Error() string {
	text := strconv.Itoa(e.Status) + " " + e.reason()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) reason() string {
	return cmp.Or(e.Reason, strings.ToLower(http.StatusText(e.Status)))
}

// ErrorStatus is a row of the table from error to status: an error for which
// errors.Is(err, Err) holds gets the response of an Error with these fields.
type ErrorStatus struct {
	Err        error
	Status     int
	Reason     string        // default: the text of the error, which clients then see
	RetryAfter time.Duration // see Error
}

// tooManyFiles is the reason of a response to a request for which the process could not open a
// file or a connection.
const tooManyFiles = "too many open files, try again"

// ownErrors returns the server's own rows of the table. They come after those of the
// application.
func ownErrors() []ErrorStatus {
	return []ErrorStatus{
		{Err: ErrBodyTooLarge, Status: http.StatusRequestEntityTooLarge, Reason: ErrBodyTooLarge.Error()},
		{Err: ErrBodyTruncated, Status: http.StatusBadRequest, Reason: ErrBodyTruncated.Error()},
		{Err: ErrBodyMalformed, Status: http.StatusBadRequest, Reason: ErrBodyMalformed.Error()},
		{Err: ErrBodyTimeout, Status: http.StatusRequestTimeout, Reason: ErrBodyTimeout.Error()},
		{Err: pool.ErrFull, Status: http.StatusServiceUnavailable, Reason: "too busy, try again", RetryAfter: time.Second},
		{Err: pool.ErrClosed, Status: http.StatusServiceUnavailable, Reason: "the server is shutting down, try again", RetryAfter: time.Second},
		{Err: syscall.EMFILE, Status: http.StatusServiceUnavailable, Reason: tooManyFiles, RetryAfter: time.Second},
		{Err: syscall.ENFILE, Status: http.StatusServiceUnavailable, Reason: tooManyFiles, RetryAfter: time.Second},
		{Err: ErrClientGone, Status: statusClientGone, Reason: ErrClientGone.Error()},
		{Err: context.DeadlineExceeded, Status: http.StatusGatewayTimeout, Reason: "the request timed out"},
		{Err: context.Canceled, Status: http.StatusServiceUnavailable, Reason: "the request was cancelled, try again", RetryAfter: time.Second},
	}
}

// classify returns the response for err. A panic is a 500 response, even if its value
// is an error of the table. For other errors classify uses the *Error in the chain of
// err, or else the first row of the table that matches, or else 500.
func (s *Server) classify(err error) *Error {
	internal := &Error{Status: http.StatusInternalServerError, Reason: "internal error", Err: err}
	if _, ok := errors.AsType[*pool.PanicError](err); ok {
		return internal
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	for _, row := range s.errors {
		if errors.Is(err, row.Err) {
			e := &Error{Status: row.Status, Reason: cmp.Or(row.Reason, err.Error()), RetryAfter: row.RetryAfter}
			if row.Reason != "" && err != row.Err { //nolint:errorlint // a bare sentinel needs no log line
				e.Err = err
			}
			return e
		}
	}
	return internal
}

// contentFields are the fields that describe a response body, such as its type, its
// location, and how long it may be cached. They are removed when an error replaces the
// body.
var contentFields = []string{
	fasthttp.HeaderContentType, fasthttp.HeaderContentLength, fasthttp.HeaderContentEncoding, fasthttp.HeaderContentLanguage,
	fasthttp.HeaderContentLocation, fasthttp.HeaderContentDisposition, fasthttp.HeaderContentRange,
	fasthttp.HeaderAcceptRanges, "Content-Digest", "Repr-Digest", fasthttp.HeaderETag,
	fasthttp.HeaderLastModified, fasthttp.HeaderCacheControl, fasthttp.HeaderExpires,
	fasthttp.HeaderLocation, fasthttp.HeaderTrailer, fasthttp.HeaderTransferEncoding,
	fasthttp.HeaderConnection, fasthttp.HeaderUpgrade, // of an incomplete handshake
}

// dropContent removes the body that a handler has written and the fields that describe
// it. Other fields and cookies stay: middleware may have set them.
func dropContent(r *fasthttp.Response) {
	r.ResetBody()
	r.SkipBody, r.ImmediateHeaderFlush = false, false
	h := &r.Header
	closing := h.ConnectionClose()
	for _, name := range contentFields {
		h.Del(name)
	}
	if closing {
		h.SetConnectionClose()
	}
	h.SetStatusMessage(nil)
}

// respondError replaces the handler's body with the error response for err. It logs a
// 5xx response that has a cause, with the id that the client gets as X-Request-Id.
func (s *Server) respondError(ctx *fasthttp.RequestCtx, err error) {
	e := s.classify(err)
	dropContent(&ctx.Response)
	ctx.Hijack(nil) // the handler may have failed after Take
	h := &ctx.Response.Header
	if e.Status >= http.StatusInternalServerError && e.Err != nil {
		s.logFailure(ctx, e)
	}
	if e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(int(seconds)))
	}
	if e.Challenge != "" {
		h.Set(fasthttp.HeaderWWWAuthenticate, e.Challenge)
	}
	if e.allow != "" {
		h.Set(fasthttp.HeaderAllow, e.allow)
	}
	if e.acceptEncoding != "" {
		h.Set(fasthttp.HeaderAcceptEncoding, e.acceptEncoding)
	}
	writeErrorBody(ctx, e.Status, e.reason())
}

func (s *Server) logFailure(ctx *fasthttp.RequestCtx, e *Error) {
	attrs := []any{
		"request_id", RequestID(ctx),
		"method", string(ctx.Method()),
		"target", string(ctx.RequestURI()),
		"client", Client(ctx),
		"status", e.Status,
		"error", e.Err,
	}
	if p, ok := errors.AsType[*pool.PanicError](e.Err); ok {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	s.opts.Logger.Error("request failed", withTrace(attrs, traceID(ctx, true))...)
}
