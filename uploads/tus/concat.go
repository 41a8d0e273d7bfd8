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
		return nil, fail(http.StatusBadRequest, "Upload-Concat is neither partial nor final and its parts")
	}
	for address := range strings.FieldsSeq(list) {
		id := address[strings.LastIndexByte(address, '/')+1:]
		if !validID(id) {
			return nil, fail(http.StatusBadRequest, "Upload-Concat: a part is no address of an upload here")
		}
		parts = append(parts, id)
	}
	if len(parts) == 0 {
		return nil, fail(http.StatusBadRequest, "Upload-Concat: a final upload needs parts")
	}
	return parts, nil
}

// finalID is the id of the final upload of these parts under that name. Nobody
// can guess it who does not know the parts, and a client that lost the answer, and
// asks again, gets the same upload.
func finalID(o origin) string {
	sum := sha256.Sum256([]byte(strings.Join(o.Parts, " ") + "\x00" + o.Directory + "\x00" + o.Filename))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// concatenate joins parts to a file and answers when that is published.
func (s *Server) concatenate(ctx context.Context, o origin, p progress) (Response, error) {
	o.ID = finalID(o)
	e, err := s.acquire(ctx, o.ID)
	if errors.Is(err, errNotFound) || errors.Is(err, errGone) {
		e, err = s.makeFinal(ctx, o, p)
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
	return s.created(e, false), nil
}

func (s *Server) makeFinal(ctx context.Context, o origin, p progress) (*entry, error) {
	if err := s.store.Check(ctx, o.Directory, o.Filename); err != nil {
		return nil, err
	}
	parts, err := s.openParts(o.Parts)
	defer parts.close()
	if err != nil {
		return nil, err
	}
	if p.Length = parts.length(); p.Length > s.store.MaxFile() {
		return nil, fail(http.StatusRequestEntityTooLarge, "larger than a file may be, see Tus-Max-Size")
	}
	e, err := s.make(ctx, o, p)
	if err == nil {
		s.log.InfoContext(ctx, "upload created", "upload", e.ID, "directory", o.Directory, "filename", o.Filename,
			"bytes", p.Length, "parts", len(o.Parts))
	}
	return e, err
}

// join appends what is not there yet of the parts, and publishes the whole. The
// parts are read once, which is when the sum of the whole is made.
func (e *entry) join(ctx context.Context) error {
	if !e.whole() {
		parts, err := e.server.openParts(e.Parts)
		defer parts.close()
		if err != nil {
			return err
		}
		u, err := e.receive(ctx, &Request{Body: parts.from(e.Offset)}, nil)
		if err != nil {
			return err
		}
		if e.whole() {
			return e.finish(ctx, u)
		}
		u.Pause()
		return fmt.Errorf("join upload: %d of %d bytes are there", e.Offset, e.Length)
	}
	return e.finish(ctx, nil)
}

// dropParts frees the parts of a final upload that is stored. What stays, because
// somebody holds it, expires.
func (e *entry) dropParts(ctx context.Context) {
	for _, id := range e.Parts {
		p, err := e.server.acquire(ctx, id)
		if errors.Is(err, errGone) || errors.Is(err, errNotFound) {
			continue
		}
		if err == nil {
			err = p.drop(ctx, "joined")
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
func (ps parts) from(offset int64) io.Reader {
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
	e.origin, e.progress, err = readState(f)
	switch {
	case err != nil:
		return part{}, err
	case e.Phase != phaseOpen || e.expired(time.Now()):
		return part{}, errGone
	case !e.partial():
		return part{}, fail(http.StatusBadRequest, "Upload-Concat: a part is no partial upload")
	case !e.whole():
		return part{}, fail(http.StatusConflict, "Upload-Concat: a part is unfinished")
	}
	if err := e.openData(); err != nil {
		return part{}, err
	}
	p := part{e.data, e.Length}
	e.data = nil // it is the part's now
	return p, nil
}
