package workerapi

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
)

// StoreArtifact stores body as a file of the task of a lease. size is its length in bytes,
// or negative if it is not known. The file is one of the task's artifacts once Finish names
// it; a file with the same name is replaced. Errors of the body are returned unchanged. All
// others are of the type Error, and then there is no file.
func (s *Service) StoreArtifact(ctx context.Context, lease, name string, size int64, body io.Reader) error {
	id, err := parseLease(lease)
	if err != nil {
		return invalid("%v", err)
	}
	if s.opt.Artifacts == nil {
		return Error{codeUnavailable, "this server stores no artifacts"}
	}
	limit := s.opt.MaxArtifact
	if limit <= 0 {
		limit = math.MaxInt64 - 1
	}
	if size > limit {
		return Error{codeTooLarge, "artifact is larger than the limit for uploads"}
	}
	if lost, err := s.store.Held(ctx, []*driver.Lease{id.lease()}); err != nil || len(lost) > 0 {
		if err == nil {
			err = errNotCurrent
		}
		return s.explain(err)
	}
	w, err := s.opt.Artifacts.Create(ctx, id.task, name, id.attempt)
	if errors.Is(err, artifacts.ErrName) {
		return invalid("name: %v", artifacts.ErrName)
	}
	if err != nil {
		return s.explain(err)
	}
	source := &bodyReader{Reader: io.LimitReader(body, limit+1)}
	n, err := io.Copy(w, source)
	switch {
	case source.err != nil:
		w.Discard()
		return source.err
	case err != nil:
		w.Discard()
		return s.explain(err)
	case n > limit:
		w.Discard()
		return Error{codeTooLarge, "artifact is larger than the limit for uploads"}
	}
	if err := w.Close(); err != nil {
		return s.explain(err)
	}
	return nil
}

// bodyReader keeps the error of a body.
type bodyReader struct {
	io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// maxArtifacts is the largest number of files of an attempt.
const maxArtifacts = 100

// checkArtifacts returns an Error unless all files of a task exist.
func (s *Service) checkArtifacts(ctx context.Context, task string, names []string) error {
	if len(names) > maxArtifacts {
		return invalid("artifacts: %d files; at most %d are allowed", len(names), maxArtifacts)
	}
	for _, name := range names {
		if s.opt.Artifacts == nil {
			return invalid("artifacts: this server stores none")
		}
		f, err := s.opt.Artifacts.Open(ctx, task, name)
		if errors.Is(err, fs.ErrNotExist) {
			return invalid("artifacts: %q was not uploaded", utf8text.Cut(name, 200))
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
