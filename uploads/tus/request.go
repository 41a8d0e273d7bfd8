package tus

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/uploads"
)

// Request is an HTTP request for a Server.
type Request struct {
	Method string
	// ID is the path after Options.Base. It is empty for POST, which creates an
	// upload.
	ID string
	// Header returns the value of a header field, or "".
	Header func(name string) string
	// Length is the length of the body in bytes, or -1 if it is unknown.
	Length int64
	// Body is the body. It must return io.EOF only at the end of a complete body.
	Body io.Reader
	// Interrupt makes a blocked Read of Body return an error. Serve calls it from
	// another goroutine to stop a request. Nil: Serve waits until Read returns.
	Interrupt func()
}

// Response is the response to a Request.
type Response struct {
	Status int
	Header [][2]string // names and values
	Body   any         // value to encode as JSON; nil for no body
	// File is the stored file of the upload, with the upload's id as ID. It is nil
	// if the upload is not stored.
	File *uploads.File
}

// offsetStream is the Content-Type of a body that is appended to an upload.
const offsetStream = "application/offset+octet-stream"

// Values of Tus-Extension and Tus-Checksum-Algorithm.
const (
	extensions = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration,concatenation"
	algorithms = "sha256,sha1,md5"
)

// Serve handles a request. Errors that concern the upload become a Response. Serve
// returns only errors that the caller must map to a response: an error of Body,
// pool.ErrFull, pool.ErrClosed or an internal error. The caller must add the header field
// Tus-Resumable to each response, also to the response for an error.
func (s *Server) Serve(ctx context.Context, r *Request) (Response, error) {
	if err := s.startRequest(); err != nil {
		return Response{}, err
	}
	defer s.requests.Done()
	response, err := s.dispatch(ctx, r)
	if err != nil {
		return s.errorResponse(ctx, r, err)
	}
	return response, nil
}

func (s *Server) dispatch(ctx context.Context, r *Request) (Response, error) {
	method := r.Method
	// Only for POST: the access check of the caller is that of the real method, and an
	// override of a GET could bypass the check for writing.
	if method == http.MethodPost {
		method = cmp.Or(r.Header("X-HTTP-Method-Override"), method)
	}
	switch method {
	case http.MethodOptions:
		return s.options(), nil
	case http.MethodGet: // not in the protocol, so Tus-Resumable is not required
		if r.ID != "" {
			return s.get(ctx, r.ID)
		}
	}
	if version := r.Header("Tus-Resumable"); version != Version {
		return Response{}, &requestError{status: http.StatusPreconditionFailed, reason: "Tus-Resumable must be " + Version,
			header: [][2]string{{"Tus-Version", Version}}}
	}
	switch {
	case r.ID == "" && method == http.MethodPost:
		return s.create(ctx, r)
	case r.ID != "" && method == http.MethodHead:
		return s.head(ctx, r)
	case r.ID != "" && method == http.MethodPatch:
		return s.patch(ctx, r)
	case r.ID != "" && method == http.MethodDelete:
		return s.remove(ctx, r)
	}
	allow := "POST, OPTIONS"
	if r.ID != "" {
		allow = "GET, HEAD, PATCH, DELETE, OPTIONS"
	}
	return Response{}, &requestError{status: http.StatusMethodNotAllowed, reason: "method not allowed", header: [][2]string{{"Allow", allow}}}
}

// options returns the response to OPTIONS.
func (s *Server) options() Response {
	return Response{Status: http.StatusNoContent, Header: [][2]string{
		{"Tus-Version", Version},
		{"Tus-Extension", extensions},
		{"Tus-Checksum-Algorithm", algorithms},
		{"Tus-Max-Size", strconv.FormatInt(s.store.MaxFile(), 10)},
	}}
}

// requestError is an error in a request. Its reason is sent to the client.
type requestError struct {
	status int
	reason string
	header [][2]string
}

func (f *requestError) Error() string { return strconv.Itoa(f.status) + " " + f.reason }

func newError(status int, reason string) error { return &requestError{status: status, reason: reason} }

// statusChecksum is the status for a wrong checksum. It is defined by tus, not by HTTP.
const statusChecksum = 460

var errGone = newError(http.StatusGone, "this upload was deleted, has failed or has expired")

// errorResponse returns the response for err if it concerns the upload, and otherwise
// err.
func (s *Server) errorResponse(ctx context.Context, r *Request, err error) (Response, error) {
	if f, ok := errors.AsType[*requestError](err); ok {
		return Response{Status: f.status, Header: f.header, Body: map[string]any{"code": f.status, "reason": f.reason}}, nil
	}
	resp := uploads.ErrorResponse(err)
	if resp.Code == uploads.CodeInternal {
		return Response{}, err
	}
	if resp.Code == uploads.CodeNoSpace {
		s.log.ErrorContext(ctx, "upload failed", "upload", r.ID, "code", resp.Code, "error", err)
	}
	return Response{Status: resp.Status(), Body: resp}, nil
}

// byteCount parses a header field with a number of bytes. ok is false without the field.
func byteCount(r *Request, name string) (n int64, ok bool, err error) {
	text := r.Header(name)
	if text == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' || text[0] == '-' {
		return 0, false, newError(http.StatusBadRequest, name+" must be a number of bytes")
	}
	return n, true, nil
}

// isOffsetStream reports whether the body is to be appended to the upload.
func isOffsetStream(r *Request) bool {
	kind, _, _ := strings.Cut(r.Header("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), offsetStream)
}

// httpDate formats a time for Upload-Expires (RFC 9110, section 5.6.7).
func httpDate(unix int64) string { return time.Unix(unix, 0).UTC().Format(http.TimeFormat) }
