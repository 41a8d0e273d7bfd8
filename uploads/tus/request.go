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

// Request is what a request says.
type Request struct {
	Method string
	// ID is what follows the base in the path: empty for the collection.
	ID string
	// Header returns the value of a field, or nothing.
	Header func(name string) string
	// Length is how many bytes the body has, -1 if that is not known.
	Length int64
	// Body must give io.EOF where the body is whole, and nowhere else.
	Body io.Reader
	// Interrupt makes a Read of Body that waits return, with any error. It is called
	// from another goroutine, while Serve runs. Nil: reads are waited for.
	Interrupt func()
}

// Response is the response to a Request.
type Response struct {
	Status int
	Header [][2]string
	Body   any // as JSON; nil for none
	// File is the file that the request is about, once that is stored, with the
	// upload's id; else nil.
	File *uploads.File
}

// offsetStream is the content type of bytes that are appended to an upload.
const offsetStream = "application/offset+octet-stream"

// extensions is what Tus-Extension says, algorithms what Tus-Checksum-Algorithm.
const (
	extensions = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration,concatenation"
	algorithms = "sha256,sha1,md5"
)

// Serve handles a request. An error is for the caller's own table of errors: one
// of reading Body, pool.ErrFull or pool.ErrClosed, or an internal one; whatever
// is about the upload becomes a Response. The caller adds the field Tus-Resumable
// to every response, those to errors too.
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
	if method == http.MethodPost { // of another method it would pass who is not let in for this one
		method = cmp.Or(r.Header("X-HTTP-Method-Override"), method)
	}
	switch method {
	case http.MethodOptions:
		return s.options(), nil
	case http.MethodGet: // no part of the protocol, nor of its versions
		if r.ID != "" {
			return s.get(r.ID)
		}
	}
	if version := r.Header("Tus-Resumable"); version != Version {
		return Response{}, &requestError{status: http.StatusPreconditionFailed, reason: "the version in Tus-Resumable must be " + Version,
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

// describe is the answer to OPTIONS.
func (s *Server) options() Response {
	return Response{Status: http.StatusNoContent, Header: [][2]string{
		{"Tus-Version", Version},
		{"Tus-Extension", extensions},
		{"Tus-Checksum-Algorithm", algorithms},
		{"Tus-Max-Size", strconv.FormatInt(s.store.MaxFile(), 10)},
	}}
}

// fault is what is wrong with a request, in words for the client.
type requestError struct {
	status int
	reason string
	header [][2]string
}

func (f *requestError) Error() string { return strconv.Itoa(f.status) + " " + f.reason }

func newError(status int, reason string) error { return &requestError{status: status, reason: reason} }

// statusChecksum is the protocol's own status for a checksum that does not match.
const statusChecksum = 460

var (
	errNotFound  = newError(http.StatusNotFound, "no such upload")
	errGone      = newError(http.StatusGone, "this upload has ended or expired")
	errLocked    = newError(http.StatusLocked, "another request holds this upload, try again")
	errTakenOver = newError(http.StatusLocked, "another request has taken this upload over")
)

// refuse returns the response to a request that err ended, if err is about the upload.
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

// number reads a field that is a count of bytes; ok is false if it is not there.
func byteCount(r *Request, name string) (n int64, ok bool, err error) {
	text := r.Header(name)
	if text == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' || text[0] == '-' {
		return 0, false, newError(http.StatusBadRequest, name+" is not a number of bytes")
	}
	return n, true, nil
}

// isStream reports whether the body is bytes to be appended.
func isOffsetStream(r *Request) bool {
	kind, _, _ := strings.Cut(r.Header("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), offsetStream)
}

// imfDate is the time as Upload-Expires has it (RFC 9110 §5.6.7).
func httpDate(unix int64) string { return time.Unix(unix, 0).UTC().Format(http.TimeFormat) }
