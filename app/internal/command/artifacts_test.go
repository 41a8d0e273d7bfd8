package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/uploads"
)

// storage is a jobs.Reporter that stores an artifact. Its first calls fail.
type storage struct {
	failures int
	err      error
	calls    int
	stored   string
}

func (*storage) Progress(int, string) {}

// Artifact fails in Artifact, Write and Close in turns.
func (s *storage) Artifact(string) (io.WriteCloser, error) {
	s.calls++
	w := &stored{storage: s}
	switch {
	case s.calls > s.failures:
	case s.calls%3 == 1:
		return nil, s.err
	case s.calls%3 == 2:
		w.write = s.err
	default:
		w.close = s.err
	}
	return w, nil
}

type stored struct {
	storage      *storage
	text         bytes.Buffer
	write, close error
}

func (w *stored) Write(p []byte) (int, error) {
	if w.write != nil {
		return 0, w.write
	}
	return w.text.Write(p)
}

func (w *stored) Close() error {
	if w.write != nil {
		return errors.New("closed after an error of Write")
	}
	if w.close == nil {
		w.storage.stored = w.text.String()
	}
	return w.close
}

// An artifact is stored again while the storage is unavailable, for a minute.
func TestArtifactsWhileUnavailable(t *testing.T) {
	away := fmt.Errorf("store object: %w", uploads.ErrUnavailable)
	full := errors.New("no space left")
	for name, c := range map[string]struct {
		storage
		calls int
		took  time.Duration
		err   error
	}{
		"at once":     {storage{}, 1, 0, nil},
		"fourth call": {storage{failures: 3, err: away}, 4, 3500 * time.Millisecond, nil},
		"never":       {storage{failures: 1000, err: away}, 10, 55500 * time.Millisecond, uploads.ErrUnavailable},
		"other error": {storage{failures: 1, err: full}, 1, 0, full},
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := c.storage
			job, err := jobs.Definition{Name: "any"}.Job(&jobs.Task{ID: "t", Args: []byte("[]")}, 1, slog.New(slog.DiscardHandler), &s)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = storeArtifacts(t.Context(), job, dir)
			if took := time.Since(began); !errors.Is(err, c.err) || s.calls != c.calls || took != c.took {
				t.Errorf("%s: %v after %v and %d calls", name, err, took, s.calls)
			}
			if want := map[bool]string{true: "content"}[c.err == nil]; s.stored != want {
				t.Errorf("%s: stored %q", name, s.stored)
			}
		})
	}
}
