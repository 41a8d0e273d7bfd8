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
)

// The kinds of Upload-Concat.
const (
	concatPartial = "partial"
	concatFinal   = "final"
)

// parseConcat reads Upload-Concat: "partial", or "final;" and the addresses of the
// parts with spaces between them, of which the ids are returned. Addresses may be
// of another host or below another path: that is how a proxy shows them.
func parseConcat(field string) (parts []string, err error) {
	if field == "" || field == concatPartial {
		return nil, nil
	}
	kind, list, _ := strings.Cut(field, ";")
	if strings.TrimSpace(kind) != concatFinal {
		return nil, newError(http.StatusBadRequest, "Upload-Concat is neither partial nor final and its parts")
	}
	for address := range strings.FieldsSeq(list) {
		id := address[strings.LastIndexByte(address, '/')+1:]
		if !validID(id) {
			return nil, newError(http.StatusBadRequest, "Upload-Concat: a part is no address of an upload here")
		}
		parts = append(parts, id)
	}
	if len(parts) == 0 {
		return nil, newError(http.StatusBadRequest, "Upload-Concat: a final upload needs parts")
	}
	return parts, nil
}

// finalID is the id of the final upload of these parts under that name. Nobody
// can guess it who does not know the parts, and a client that lost the answer, and
// asks again, gets the same upload.
func finalID(attr attributes) string {
	sum := sha256.Sum256([]byte(strings.Join(attr.Parts, " ") + "\x00" + attr.Directory + "\x00" + attr.Filename))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// concatenate joins parts to a file and answers when that is published.
func (s *Server) concatenate(ctx context.Context, attr attributes, p progress) (Response, error) {
	attr.ID = finalID(attr)
	e, err := s.acquire(ctx, attr.ID)
	if errors.Is(err, errNotFound) || errors.Is(err, errGone) {
		e, err = s.createFinal(ctx, attr, p)
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

func (s *Server) createFinal(ctx context.Context, attr attributes, p progress) (*entry, error) {
	if err := s.store.Check(ctx, attr.Directory, attr.Filename); err != nil {
		return nil, err
	}
	parts, err := s.openParts(attr.Parts)
	defer parts.close()
	if err != nil {
		return nil, err
	}
	if p.Length = parts.length(); p.Length > s.store.MaxFile() {
		return nil, newError(http.StatusRequestEntityTooLarge, "larger than a file may be, see Tus-Max-Size")
	}
	e, err := s.newEntry(ctx, attr, p)
	if err == nil {
		s.log.InfoContext(ctx, "upload created", "upload", e.ID, "directory", attr.Directory, "filename", attr.Filename,
			"bytes", p.Length, "parts", len(attr.Parts))
	}
	return e, err
}

// join appends what is not there yet of the parts, and publishes the whole. The
// parts are read once, which is when the sum of the whole is made.
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
		return fmt.Errorf("join upload: %d of %d bytes are there", e.Offset, e.Length)
	}
	return e.finish(ctx, nil)
}

// dropParts frees the parts of a final upload that is stored. What stays, because
// somebody holds it, expires.
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
			e.server.log.WarnContext(ctx, "part not removed", "upload", id, "error", err)
		}
	}
}

// part is a partial upload, opened to be read; parts are those of a final one.
type (
	part struct {
		file   *os.File
		length int64
	}
	parts []part
)

func (ps parts) close() {
	for _, p := range ps {
		_ = p.file.Close() // read only
	}
}

func (ps parts) length() (n int64) {
	for _, p := range ps {
		n += p.length
	}
	return n
}

// from reads the parts one behind the other from an offset on.
func (ps parts) readerFrom(offset int64) io.Reader {
	var readers []io.Reader
	for _, p := range ps {
		skip := min(offset, p.length)
		offset -= skip
		readers = append(readers, io.NewSectionReader(p.file, skip, p.length-skip))
	}
	return io.MultiReader(readers...)
}

// openParts opens what must be partial uploads that are whole. It returns those
// that it has opened, also with an error.
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

// openPart needs no lock: a part that is whole changes no more.
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
		return part{}, newError(http.StatusBadRequest, "Upload-Concat: a part is no partial upload")
	case !e.complete():
		return part{}, newError(http.StatusConflict, "Upload-Concat: a part is unfinished")
	}
	if err := e.openData(); err != nil {
		return part{}, err
	}
	p := part{e.data, e.Length}
	e.data = nil // it is the part's now
	return p, nil
}
