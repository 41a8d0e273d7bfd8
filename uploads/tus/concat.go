package tus

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Values of Upload-Concat, or their first part.
const (
	concatPartial = "partial"
	concatFinal   = "final"
)

// parseConcat parses Upload-Concat: "partial", or "final;" and the URLs of the parts,
// separated by spaces. It returns the ids of the parts. The URLs may have another host
// and path prefix than this server, because a proxy may have changed them.
func parseConcat(field string) (parts []string, err error) {
	if field == "" || field == concatPartial {
		return nil, nil
	}
	kind, list, _ := strings.Cut(field, ";")
	if strings.TrimSpace(kind) != concatFinal {
		return nil, newError(http.StatusBadRequest, "Upload-Concat must be partial, or final with the URLs of its parts")
	}
	for address := range strings.FieldsSeq(list) {
		id := address[strings.LastIndexByte(address, '/')+1:]
		if !validID(id) {
			return nil, newError(http.StatusBadRequest, "Upload-Concat: a part is not the URL of an upload")
		}
		parts = append(parts, id)
	}
	if len(parts) == 0 {
		return nil, newError(http.StatusBadRequest, "Upload-Concat: a final upload must have parts")
	}
	return parts, nil
}

// finalID returns the id of the final upload with these parts and this name. Because it
// depends on nothing else, a client that has lost the response and repeats the request
// gets the same upload. Only clients that know the ids of the parts can compute it.
func finalID(attr Attributes) string {
	sum := sha256.Sum256([]byte(strings.Join(attr.Parts, " ") + "\x00" + attr.Directory + "\x00" + attr.Filename))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// concatenate serves POST of a final upload: it joins the parts and publishes the file.
func (s *Server) concatenate(ctx context.Context, attr Attributes, p Progress) (Response, error) {
	attr.ID = finalID(attr)
	e, err := s.acquire(ctx, attr.ID)
	if errors.Is(err, ErrNotFound) || errors.Is(err, errGone) {
		e, err = s.createFinal(ctx, attr, p)
	}
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	if e.Phase != PhaseStored {
		if err := e.join(ctx); err != nil {
			return Response{}, err
		}
	}
	return s.createdResponse(e, false), nil
}

func (s *Server) createFinal(ctx context.Context, attr Attributes, p Progress) (*entry, error) {
	if err := s.store.Check(ctx, attr.Directory, attr.Filename); err != nil {
		return nil, err
	}
	parts, err := s.findParts(ctx, attr.Parts)
	if err != nil {
		return nil, err
	}
	if p.Length = parts.length(); p.Length > s.store.MaxFile() {
		return nil, newError(http.StatusRequestEntityTooLarge, "the parts together are over Tus-Max-Size")
	}
	e, err := s.newEntry(ctx, State{attr, p})
	if err == nil {
		s.log.InfoContext(ctx, "upload created", "upload", e.ID, "directory", attr.Directory, "filename", attr.Filename,
			"bytes", p.Length, "parts", len(attr.Parts))
	}
	return e, err
}

// join appends the missing bytes of the parts and publishes the file. It reads the parts
// once and computes the SHA-256 at the same time.
func (e *entry) join(ctx context.Context) error {
	if !e.complete() {
		parts, err := e.server.findParts(ctx, e.Parts)
		if err != nil {
			return err
		}
		body, closeAll, err := parts.openFrom(ctx, e.server.place, e.Offset)
		defer closeAll()
		if err != nil {
			return err
		}
		u, err := e.receive(ctx, &Request{Body: body}, nil)
		if err != nil {
			return err
		}
		if e.complete() {
			return e.finish(ctx, u)
		}
		u.Pause()
		return fmt.Errorf("join parts: %d of %d bytes copied", e.Offset, e.Length)
	}
	return e.finish(ctx, nil)
}

// discardParts discards the parts of a final upload that has been stored. A part that is
// locked by another request expires later.
func (e *entry) discardParts(ctx context.Context) {
	for _, id := range e.Parts {
		p, err := e.server.acquire(ctx, id)
		if errors.Is(err, errGone) || errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			err = p.discard(ctx, "joined")
			p.close()
		}
		if err != nil {
			e.server.log.WarnContext(ctx, "partial upload not discarded", "upload", id, "error", err)
		}
	}
}

// part is a part of a final upload; parts are all parts of it.
type (
	part struct {
		id     string
		length int64
	}
	parts []part
)

func (ps parts) length() (n int64) {
	for _, p := range ps {
		n += p.length
	}
	return n
}

// openFrom opens all parts. The body is that of all parts, in order, and begins at offset.
// The caller must call closeAll, also after an error.
func (ps parts) openFrom(ctx context.Context, place Place, offset int64) (body io.Reader, closeAll func(), err error) {
	var readers []io.Reader
	var opened []io.Closer
	closeAll = func() {
		for _, c := range opened {
			_ = c.Close() // only read from
		}
	}
	for _, p := range ps {
		skip := min(offset, p.length)
		offset -= skip
		if skip == p.length {
			continue
		}
		r, err := place.Open(ctx, p.id, skip)
		if err != nil {
			return nil, closeAll, err
		}
		readers, opened = append(readers, r), append(opened, r)
	}
	return io.MultiReader(readers...), closeAll, nil
}

// findParts finds the parts of a final upload, which must be complete partial uploads. It
// does not hold them, because a complete part does not change.
func (s *Server) findParts(ctx context.Context, ids []string) (found parts, err error) {
	for _, id := range ids {
		e, err := s.look(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case e.Phase != PhaseUnfinished:
			return nil, errGone
		case !e.Partial():
			return nil, newError(http.StatusBadRequest, "Upload-Concat: a part is not a partial upload")
		case !e.complete():
			return nil, newError(http.StatusConflict, "Upload-Concat: a part is unfinished")
		}
		found = append(found, part{id, e.Length})
	}
	return found, nil
}
