package static

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// linked opens a folder with a file a.css. It returns the folder, its path and its log.
func linked(t *testing.T, o Options) (f *Folder, dir string, log *testutil.LogBuffer) {
	t.Helper()
	dir, log = t.TempDir(), &testutil.LogBuffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	f, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	store(t, filepath.Join(dir, "a.css"), "first", time.Unix(1_000_000_000, 0))
	return f, dir, log
}

func store(t *testing.T, path, content string, modified time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	f, dir, log := linked(t, Options{})
	path := filepath.Join(dir, "a.css")
	first := f.URL("a.css")
	// sha256sum of "first"
	if first != "/static/a.css?v=a7937b64b8caa58f0372" {
		t.Errorf("URL: %s", first)
	}
	// The same time and size is the same version: the content is not read again.
	store(t, path, "other", time.Unix(1_000_000_000, 0))
	if again := f.URL("a.css"); again != first {
		t.Errorf("cached: %s", again)
	}
	store(t, path, "other", time.Unix(1_000_000_001, 0))
	second := f.URL("a.css")
	if second == first || !strings.HasPrefix(second, "/static/a.css?v=") {
		t.Errorf("after a change: %s", second)
	}
	// The time of a file changes when it is copied, but its URL does not.
	store(t, path, "first", time.Unix(1_000_000_002, 0))
	if again := f.URL("a.css"); again != first {
		t.Errorf("with the first content again: %s", again)
	}
	if log.String() != "" {
		t.Errorf("log: %s", log)
	}
}

func TestURLOfMissingFiles(t *testing.T) {
	t.Parallel()
	f, dir, log := linked(t, Options{Base: "/-/static/"})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out.css")); err != nil {
		t.Fatal(err)
	}
	store(t, filepath.Join(dir, ".env"), "secret", time.Now())
	for name, want := range map[string]string{
		"none.css": "/-/static/none.css", "out.css": "/-/static/out.css", ".env": "/-/static/.env", "../a.css": "/-/static/../a.css",
		"": "/-/static/", "a b.css?v=\"1": "/-/static/a%20b.css%3Fv=%221",
	} {
		for range 3 {
			if got := f.URL(name); got != want {
				t.Errorf("%q: %s", name, got)
			}
		}
		if n := strings.Count(log.String(), fmt.Sprintf("name=%s ", slogText(name))); n != 1 {
			t.Errorf("%q was logged %d times: %s", name, n, log)
		}
	}
	store(t, filepath.Join(dir, "none.css"), "now", time.Now())
	if got := f.URL("none.css"); !strings.HasPrefix(got, "/-/static/none.css?v=") {
		t.Errorf("after the file was made: %s", got)
	}
	if err := os.Remove(filepath.Join(dir, "none.css")); err != nil {
		t.Fatal(err)
	}
	if got := f.URL("none.css"); got != "/-/static/none.css" || strings.Count(log.String(), "name=none.css") != 2 {
		t.Errorf("after the file was removed: %s\n%s", got, log)
	}
}

// slogText returns a value in the form of the text handler of package slog.
func slogText(value string) string {
	if strings.ContainsAny(value, " \"=") || value == "" {
		return fmt.Sprintf("%q", value)
	}
	return value
}

// Names that a client chooses do not grow the memory without limit.
func TestURLKeepsALimitedNumberOfNames(t *testing.T) {
	t.Parallel()
	f, _, _ := linked(t, Options{})
	for n := range maxHashes + 10 {
		f.hashes.set(fmt.Sprint(n), hash{})
	}
	if n := len(f.hashes.of); n > maxHashes {
		t.Errorf("%d names", n)
	}
}
