package tus

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/galeserver/gale/uploads"
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
func finalID(attr attributes) string {
	sum := sha256.Sum256([]byte(strings.Join(attr.Parts, " ") + "\x00" + attr.Directory + "\x00" + attr.Filename))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// concatenate serves POST of a final upload: it joins the parts and publishes the file.
func (s *Server) concatenate(ctx context.Context, sender uploads.Sender, attr attributes, p progress) (Response, error) {
	attr.ID = finalID(attr)
	e, err := s.acquire(ctx, attr.ID)
	if errors.Is(err, errNotFound) || errors.Is(err, errGone) {
		e, err = s.createFinal(ctx, sender, attr, p)
	}
	if err != nil {
		return Response{}, err
	}
	defer e.close()
	if e.Phase != phaseStored {
		if err := e.join(ctx); err != nil {
			return Response{}, err
		}
	}
	return s.createdResponse(e, false), nil
}

func (s *Server) createFinal(ctx context.Context, sender uploads.Sender, attr attributes, p progress) (*entry, error) {
	parts, err := s.openParts(attr.Parts)
	defer parts.close()
	if err != nil {
		return nil, err
	}
	if p.Length = parts.length(); p.Length > s.store.MaxFile() {
		return nil, newError(http.StatusRequestEntityTooLarge, "the parts together are over Tus-Max-Size")
	}
	if err := s.admit(ctx, sender, &attr, p.Length); err != nil {
		return nil, err
	}
	e, err := s.newEntry(ctx, attr, p)
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
		parts, err := e.server.openParts(e.Parts)
		defer parts.close()
		if err != nil {
			return err
		}
		u, err := e.receive(ctx, &Request{Body: parts.readerFrom(e.Offset)}, nil)
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
		if errors.Is(err, errGone) || errors.Is(err, errNotFound) {
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

// part is the open data file of a partial upload; parts are all parts of a final upload.
type (
	part struct {
		file   *os.File
		length int64
	}
	parts []part
)

func (ps parts) close() {
	for _, p := range ps {
		_ = p.file.Close() // only read from
	}
}

func (ps parts) length() (n int64) {
	for _, p := range ps {
		n += p.length
	}
	return n
}

// readerFrom returns a reader of all parts, in order, that begins at offset.
func (ps parts) readerFrom(offset int64) io.Reader {
	var readers []io.Reader
	for _, p := range ps {
		skip := min(offset, p.length)
		offset -= skip
		readers = append(readers, io.NewSectionReader(p.file, skip, p.length-skip))
	}
	return io.MultiReader(readers...)
}

// openParts opens the parts of a final upload. After an error it returns the parts opened
// so far, which the caller must close.
func (s *Server) openParts(ids []string) (opened parts, err error) {
	for _, id := range ids {
		p, err := s.openPart(id)
		if err != nil {
			return opened, err
		}
		opened = append(opened, p)
	}
	return opened, nil
}

// openPart opens a part, which must be a complete partial upload. It needs no lock,
// because a complete part does not change.
func (s *Server) openPart(id string) (part, error) {
	f, err := s.find(id)
	if err != nil {
		return part{}, err
	}
	e := &entry{server: s, state: f}
	defer e.close()
	e.attributes, e.progress, err = readState(f)
	switch {
	case err != nil:
		return part{}, err
	case e.Phase != phaseUnfinished || e.expired(time.Now()):
		return part{}, errGone
	case !e.partial():
		return part{}, newError(http.StatusBadRequest, "Upload-Concat: a part is not a partial upload")
	case !e.complete():
		return part{}, newError(http.StatusConflict, "Upload-Concat: a part is unfinished")
	}
	if err := e.openData(); err != nil {
		return part{}, err
	}
	p := part{e.data, e.Length}
	e.data = nil // so that e.close does not close it
	return p, nil
}
