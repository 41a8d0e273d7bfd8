package artifacts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/artifacts/artifactstest"
	"github.com/galeserver/gale/uploads"
)

func TestFolder(t *testing.T) {
	artifactstest.Run(t, func(t testing.TB) artifacts.Files {
		files, err := artifacts.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := files.Close(); err != nil {
				t.Error(err)
			}
		})
		return files
	})
}

// TestBucket checks a Bucket on a backend in memory. test/storage does so with a service.
func TestBucket(t *testing.T) {
	artifactstest.Run(t, func(testing.TB) artifacts.Files { return artifacts.NewBucket(uploads.Backend{Files: newMemory()}) })
}

// An error of the storage makes Close fail, and leaves the file that was there before.
func TestBucketUnavailable(t *testing.T) {
	m := newMemory()
	files := artifacts.NewBucket(uploads.Backend{Files: m})
	write := func(text string) error {
		w, err := files.Create(t.Context(), "t", "a", 1)
		if err != nil {
			return err
		}
		defer w.Discard()
		if _, err = io.WriteString(w, text); err != nil {
			if closed := w.Close(); !errors.Is(closed, uploads.ErrUnavailable) {
				t.Errorf("close after a failed write: %v", closed)
			}
			return err
		}
		return w.Close()
	}
	if err := write("old"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"create", "write", "finish", "publish", "open", "list", "remove"} {
		m.fail(step)
		switch step {
		case "open":
			if _, err := files.Open(t.Context(), "t", "a"); !errors.Is(err, uploads.ErrUnavailable) {
				t.Errorf("open: %v", err)
			}
		case "list", "remove":
			if n, err := files.Expire(t.Context(), time.Now().Add(time.Hour), func(string) (bool, error) { return true, nil }); n != 0 || !errors.Is(err, uploads.ErrUnavailable) {
				t.Errorf("expire: %d, %v", n, err)
			}
		default:
			if err := write("new"); !errors.Is(err, uploads.ErrUnavailable) {
				t.Errorf("%s: %v", step, err)
			}
		}
		m.fail("")
		if f, err := files.Open(t.Context(), "t", "a"); err != nil {
			t.Errorf("%s: %v", step, err)
		} else if text, err := io.ReadAll(f); string(text) != "old" || err != nil {
			t.Errorf("%s: %q, %v", step, text, err)
		}
	}
	if n := m.open.Load(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// memory is a uploads.Files in memory that replaces files.
type memory struct {
	open    atomic.Int64 // writers that are not closed
	mu      sync.Mutex
	failing string // step that fails
	files   map[string]stored
}

type stored struct {
	text     string
	modified time.Time
}

func newMemory() *memory { return &memory{files: map[string]stored{}} }

func (m *memory) fail(step string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = step
}

// step returns an error if the step is to fail.
func (m *memory) step(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing == name {
		return fmt.Errorf("%s: %w", name, uploads.ErrUnavailable)
	}
	return nil
}

func (m *memory) Create(context.Context, string, string, string) (uploads.Writer, error) {
	if err := m.step("create"); err != nil {
		return nil, err
	}
	m.open.Add(1)
	return &memoryWriter{memory: m}, nil
}

type memoryContent struct {
	*strings.Reader
	info uploads.Info
}

func (c memoryContent) Info() uploads.Info { return c.info }
func (memoryContent) Close() error         { return nil }

func (m *memory) Open(_ context.Context, directory, filename string) (uploads.Content, error) {
	if err := m.step("open"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[directory+"/"+filename]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryContent{strings.NewReader(f.text), uploads.Info{Size: int64(len(f.text)), Modified: f.modified}}, nil
}

func (*memory) Check(context.Context, string, string) error { return errors.New("not used") }

// List has pages of at most two entries.
func (m *memory) List(_ context.Context, directory, after string, limit int) (entries []uploads.Entry, next string, err error) {
	if err := m.step("list"); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		folder, file, _ := strings.Cut(name, "/")
		e := uploads.Entry{Name: file, Size: int64(len(m.files[name].text)), Modified: m.files[name].modified}
		if directory == "" {
			e = uploads.Entry{Name: folder, Folder: true}
		} else if folder != directory {
			continue
		}
		if e.Name > after && (len(entries) == 0 || entries[len(entries)-1].Name != e.Name) {
			entries = append(entries, e)
		}
	}
	if limit = min(limit, 2); len(entries) > limit {
		entries = entries[:limit]
		next = entries[limit-1].Name
	}
	return entries, next, nil
}

func (m *memory) Remove(_ context.Context, directory, filename string) error {
	if err := m.step("remove"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, directory+"/"+filename)
	return nil
}

type memoryWriter struct {
	memory *memory
	text   strings.Builder
}

func (w *memoryWriter) Write(_ context.Context, p []byte) (int, error) {
	if err := w.memory.step("write"); err != nil {
		return 0, err
	}
	return w.text.Write(p)
}

func (w *memoryWriter) Finish(context.Context, string) (time.Time, error) {
	return time.Time{}, w.memory.step("finish")
}

func (w *memoryWriter) Publish(_ context.Context, directory, filename string) error {
	if err := w.memory.step("publish"); err != nil {
		return err
	}
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.files[directory+"/"+filename] = stored{w.text.String(), time.Now()}
	return nil
}

func (w *memoryWriter) Close() { w.memory.open.Add(-1) }
