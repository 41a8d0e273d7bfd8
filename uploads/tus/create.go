package tus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/galeserver/gale/uploads"
)

// create serves POST: it creates an upload, and appends the body if there is one.
func (s *Server) create(ctx context.Context, r *Request) (Response, error) {
	attr, p, err := s.parseCreate(r)
	if err != nil {
		return Response{}, err
	}
	check, err := parseChecksum(r.Header("Upload-Checksum"))
	if err != nil {
		return Response{}, err
	}
	hasBytes := isOffsetStream(r)
	if r.Length < 0 && !hasBytes { // a chunked body, which may be empty
		if r.Length, err = probeLength(r.Body); err != nil {
			return Response{}, err
		}
	}
	switch {
	case r.Length != 0 && !hasBytes:
		return Response{}, newError(http.StatusUnsupportedMediaType, "the Content-Type of a body must be "+offsetStream)
	case r.Length != 0 && attr.final():
		return Response{}, newError(http.StatusBadRequest, "a final upload must have no body, its content is that of its parts")
	case p.Length >= 0 && r.Length > p.Length && !attr.final(), r.Length > s.store.MaxFile():
		return Response{}, newError(http.StatusRequestEntityTooLarge, errTextTooLong)
	}
	if attr.final() {
		return s.concatenate(ctx, attr, p)
	}
	if !attr.Partial() {
		if err := s.store.Check(ctx, attr.Directory, attr.Filename); err != nil {
			return Response{}, err
		}
	}
	e, err := s.newEntry(ctx, State{attr, p})
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	s.log.InfoContext(ctx, "upload created", "upload", e.ID, "directory", attr.Directory, "filename", attr.Filename, "bytes", p.Length)
	var u *uploads.Upload
	if hasBytes {
		u, err = e.receive(ctx, r, check)
	}
	if err == nil {
		err = e.finishOrPause(ctx, u)
	}
	if err != nil {
		// The client does not get the URL of the upload, so it cannot resume it.
		if e.Phase == PhaseUnfinished {
			if discardErr := e.discard(ctx, "creation failed"); discardErr != nil {
				s.log.ErrorContext(ctx, "upload not discarded", "upload", e.ID, "error", discardErr)
			}
		}
		return Response{}, err
	}
	return s.createdResponse(e, hasBytes), nil
}

// probeLength returns 0 for an empty body and -1 for any other. It reads one byte.
func probeLength(body io.Reader) (int64, error) {
	switch _, err := io.ReadFull(body, make([]byte, 1)); {
	case errors.Is(err, io.EOF):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read body: %w", err)
	}
	return -1, nil
}

// createdResponse is the response to a POST that succeeded.
func (s *Server) createdResponse(e *entry, hasBytes bool) Response {
	resp := Response{Status: http.StatusCreated, Header: [][2]string{{"Location", s.opts.Base + e.ID}}, File: e.storedFile()}
	for _, field := range e.headerFields() {
		if field[0] != "Upload-Offset" || hasBytes {
			resp.Header = append(resp.Header, field)
		}
	}
	if e.Phase == PhaseStored {
		resp.Body = uploads.NewResponse(e.file())
	}
	return resp
}

// finishOrPause finishes a complete upload and pauses any other.
func (e *entry) finishOrPause(ctx context.Context, u *uploads.Upload) error {
	if e.complete() {
		return e.finish(ctx, u)
	}
	if u != nil {
		u.Pause()
	}
	return nil
}

// parseCreate parses the header of a POST.
func (s *Server) parseCreate(r *Request) (attr Attributes, p Progress, err error) {
	now := time.Now()
	attr = Attributes{ID: rand.Text(), Metadata: r.Header("Upload-Metadata"), Concat: r.Header("Upload-Concat"), Created: now}
	p = Progress{Length: -1, Expires: now.Add(s.opts.Expiry).Unix()}
	if attr.Parts, err = parseConcat(attr.Concat); err != nil {
		return attr, p, err
	}
	metadata, err := parseMetadata(attr.Metadata)
	if err != nil {
		return attr, p, err
	}
	if !attr.Partial() {
		if attr.Directory, attr.Filename, err = targetName(metadata); err != nil {
			return attr, p, err
		}
	}
	length, given, err := byteCount(r, "Upload-Length")
	if err != nil {
		return attr, p, err
	}
	deferred := strings.TrimSpace(r.Header("Upload-Defer-Length"))
	switch {
	case attr.final() && (given || deferred != ""):
		return attr, p, newError(http.StatusBadRequest, "a final upload must have no Upload-Length and no Upload-Defer-Length")
	case attr.final():
		return attr, p, nil
	case deferred != "" && deferred != "1":
		return attr, p, newError(http.StatusBadRequest, "Upload-Defer-Length must be 1")
	case given == (deferred != ""):
		return attr, p, newError(http.StatusBadRequest, "exactly one of Upload-Length and Upload-Defer-Length is required")
	case length > s.store.MaxFile():
		return attr, p, newError(http.StatusRequestEntityTooLarge, "Upload-Length is over Tus-Max-Size")
	case given:
		p.Length = length
	}
	return attr, p, nil
}
