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

// create is POST on the collection: a new upload, which may bring its first bytes.
func (s *Server) create(ctx context.Context, r *Request) (Response, error) {
	o, p, err := s.ask(r)
	if err != nil {
		return Response{}, err
	}
	check, err := parseChecksum(r.Header("Upload-Checksum"))
	if err != nil {
		return Response{}, err
	}
	brings := isStream(r)
	if r.Length < 0 && !brings { // chunked, and perhaps without a byte
		if r.Length, err = lengthOfEmpty(r.Body); err != nil {
			return Response{}, err
		}
	}
	switch {
	case r.Length != 0 && !brings:
		return Response{}, fail(http.StatusUnsupportedMediaType, "the content type of bytes for an upload is "+offsetStream)
	case r.Length != 0 && o.final():
		return Response{}, fail(http.StatusBadRequest, "the bytes of a final upload are those of its parts")
	case p.Length >= 0 && r.Length > p.Length && !o.final(), r.Length > s.store.MaxFile():
		return Response{}, fail(http.StatusRequestEntityTooLarge, "more bytes than the upload has")
	}
	if o.final() {
		return s.concatenate(ctx, o, p)
	}
	if !o.partial() {
		if err := s.store.Check(ctx, o.Directory, o.Filename); err != nil {
			return Response{}, err
		}
	}
	e, err := s.make(ctx, o, p)
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	s.log.InfoContext(ctx, "upload created", "upload", e.ID, "directory", o.Directory, "filename", o.Filename, "bytes", p.Length)
	var u *uploads.Upload
	if brings {
		u, err = e.receive(ctx, r, check)
	}
	if err == nil {
		err = e.settle(ctx, u)
	}
	if err != nil {
		// Its client does not know it, and cannot go on with it.
		if e.Phase == phaseOpen {
			if dropErr := e.drop(ctx, "its creation failed"); dropErr != nil {
				s.log.ErrorContext(ctx, "upload not dropped", "upload", e.ID, "error", dropErr)
			}
		}
		return Response{}, err
	}
	return s.created(e, brings), nil
}

// lengthOfEmpty is 0 for a body without bytes, else -1. It reads one.
func lengthOfEmpty(body io.Reader) (int64, error) {
	switch _, err := io.ReadFull(body, make([]byte, 1)); {
	case errors.Is(err, io.EOF):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read body: %w", err)
	}
	return -1, nil
}

// created is the answer to a POST that succeeded.
func (s *Server) created(e *entry, brought bool) Response {
	a := Response{Status: http.StatusCreated, Header: [][2]string{{"Location", s.opts.Base + e.ID}}, File: e.stored()}
	for _, field := range e.fields() {
		if field[0] != "Upload-Offset" || brought {
			a.Header = append(a.Header, field)
		}
	}
	if e.Phase == phaseStored {
		a.Body = uploads.NewResponse(e.file())
	}
	return a
}

// settle finishes an upload that is whole and pauses one that is not.
func (e *entry) settle(ctx context.Context, u *uploads.Upload) error {
	if e.whole() {
		return e.finish(ctx, u)
	}
	if u != nil {
		u.Pause()
	}
	return nil
}

// ask reads what a POST asks for.
func (s *Server) ask(r *Request) (o origin, p progress, err error) {
	now := time.Now()
	o = origin{ID: rand.Text(), Metadata: r.Header("Upload-Metadata"), Concat: r.Header("Upload-Concat"), Created: now}
	p = progress{Length: -1, Expires: now.Add(s.opts.Expiry).Unix()}
	if o.Parts, err = parseConcat(o.Concat); err != nil {
		return o, p, err
	}
	metadata, err := parseMetadata(o.Metadata)
	if err != nil {
		return o, p, err
	}
	if !o.partial() {
		if o.Directory, o.Filename, err = name(metadata); err != nil {
			return o, p, err
		}
	}
	length, given, err := number(r, "Upload-Length")
	if err != nil {
		return o, p, err
	}
	deferred := strings.TrimSpace(r.Header("Upload-Defer-Length"))
	switch {
	case o.final() && (given || deferred != ""):
		return o, p, fail(http.StatusBadRequest, "the length of a final upload is that of its parts")
	case o.final():
		return o, p, nil
	case deferred != "" && deferred != "1":
		return o, p, fail(http.StatusBadRequest, "Upload-Defer-Length must be 1")
	case given == (deferred != ""):
		return o, p, fail(http.StatusBadRequest, "one of Upload-Length and Upload-Defer-Length is needed")
	case length > s.store.MaxFile():
		return o, p, fail(http.StatusRequestEntityTooLarge, "larger than a file may be, see Tus-Max-Size")
	case given:
		p.Length = length
	}
	return o, p, nil
}
