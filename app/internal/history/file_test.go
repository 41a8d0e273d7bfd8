package history

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// filled returns a History with one point.
func filled(o Options) *History {
	h := New(o)
	now := time.Now()
	h.at = now.Add(-interval)
	h.add(Totals{Requests: 10}, now)
	return h
}

func withHeader(number int, content string) string {
	return fmt.Sprintf(header, number, crc32.ChecksumIEEE([]byte(content))) + content
}

// A file that cannot be read is renamed, with a line in the log. The history begins anew and
// is written.
func TestHistoryFilesThatCannotBeRead(t *testing.T) {
	good := string(filled(Options{}).state(false))
	_, content, _ := strings.Cut(good, "\n")
	for name, text := range map[string]string{
		"a digit changed":  strings.Replace(good, `"step":10`, `"step":20`, 1),
		"cut":              good[:len(good)/2],
		"another step":     withHeader(version, strings.Replace(content, `"step":10`, `"step":20`, 1)),
		"negative value":   withHeader(version, strings.Replace(content, `"requests":[1]`, `"requests":[-1]`, 1)),
		"number too large": withHeader(version, strings.Replace(content, `"requests":[1]`, `"requests":[1e999]`, 1)),
		"unequal lengths":  withHeader(version, strings.Replace(content, `"requests":[1]`, `"requests":[1,2]`, 1)),
		"too many points":  withHeader(version, strings.Replace(content, `"requests":[1]`, `"requests":[1`+strings.Repeat(",1", 400)+`]`, 1)),
		"before 1970":      withHeader(version, strings.Replace(content, `"from":`, `"from":-`, 1)),
		"no JSON":          withHeader(version, "nonsense"),
		"newer":            withHeader(version+1, content),
		"foreign":          "all:\n\tgo build\n",
		"too large":        good + strings.Repeat(" ", maxSize),
		"zeros":            strings.Repeat("\x00", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			if text == good {
				t.Fatal("the file is not damaged")
			}
			path := filepath.Join(t.TempDir(), "history")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			h := New(Options{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			h.Restore(nil)
			if kept, err := os.ReadFile(path + ".unreadable"); err != nil || string(kept) != text {
				t.Errorf("kept: %d bytes, %v", len(kept), err)
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "not readable") {
				t.Errorf("log: %s", log.String())
			}
			if len(h.hour.points) != 0 {
				t.Error("the history has points")
			}
			h.save()
			if _, err := parse(h.reread(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func (h *History) reread(t *testing.T) []byte {
	t.Helper()
	h.file.close()
	text, err := os.ReadFile(h.file.path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A folder, a link, a pipe or an empty file in its place does not stop the start.
func TestHistoryFileIsNoFile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"empty":  func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			h := filled(Options{Path: path})
			h.Restore(nil)
			h.save()
			if s, err := parse(h.reread(t)); err != nil || len(s.Hour.Values["requests"]) != 1 {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

// An error while writing is one line in the log, until the file is written again.
func TestHistoryFileCannotBeWritten(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	var log bytes.Buffer
	h := filled(Options{Path: filepath.Join(folder, "history"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h.Restore(nil)
	for range 3 {
		h.save()
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "cannot write the history") {
		t.Errorf("log: %s", got)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	h.save()
	h.save()
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "written again") {
		t.Errorf("log: %s", got)
	}
	if _, err := parse(h.reread(t)); err != nil {
		t.Error(err)
	}
}

// If the new file cannot be written, the old one is kept.
func TestHistoryFileKeepsItsContent(t *testing.T) {
	h := filled(Options{Path: filepath.Join(t.TempDir(), "history")})
	h.save()
	before := h.reread(t)
	if err := os.Mkdir(h.file.path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	h.add(Totals{Requests: 20}, time.Now().Add(interval))
	h.save()
	if got := h.reread(t); !bytes.Equal(got, before) {
		t.Error("the old file has changed")
	}
}

// Two servers with the same -data do not overwrite the history of each other.
func TestHistoryFileOfAnotherServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	first := filled(Options{Path: path})
	first.save()
	first.save() // the new file is locked, too
	var log bytes.Buffer
	second := New(Options{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	second.Restore(nil)
	second.save()
	second.save()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "another server uses the file") {
		t.Errorf("log: %s", got)
	}
	if s, err := parse(first.reread(t)); err != nil || len(s.Hour.Values["requests"]) != 1 { // closes the file of the first
		t.Errorf("%v, %v", s, err)
	}
	second.save() // the first server has ended
	if s, err := parse(second.reread(t)); err != nil || len(s.Hour.Values["requests"]) != 0 {
		t.Errorf("%v, %v", s, err)
	}
}

// A file that an operator removes or replaces is written again.
func TestHistoryFileIsReplaced(t *testing.T) {
	h := filled(Options{Path: filepath.Join(t.TempDir(), "history")})
	h.save()
	if err := os.Remove(h.file.path); err != nil {
		t.Fatal(err)
	}
	h.save()
	if err := os.WriteFile(h.file.path+".other", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.file.path+".other", h.file.path); err != nil {
		t.Fatal(err)
	}
	h.save()
	if _, err := parse(h.reread(t)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(filled(Options{}).state(true))
	f.Add([]byte("gale-history 1 00000000\n{}"))
	f.Add([]byte(withHeader(version, `{"hour":{"step":10,"from":9e18,"values":{"requests":[1]}},"day":{"step":300}}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := New(Options{})
		if h.decode(text) != nil {
			return
		}
		h.add(Totals{Requests: 1}, time.Now())
		if len(h.hour.points) > hourSize || len(h.day.points) > daySize {
			t.Errorf("%d and %d points", len(h.hour.points), len(h.day.points))
		}
		if _, err := h.JSON(); err != nil {
			t.Error(err)
		}
	})
}
