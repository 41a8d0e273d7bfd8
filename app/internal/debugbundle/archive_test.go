package debugbundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestArchive(t *testing.T) {
	parts := []Part{{Name: "a.txt", Text: []byte("text")}, {Name: "p/b", Err: errors.New("no response")}, {Name: "empty"}}
	parts = append([]Part{Contents("head", parts)}, parts...)
	var b bytes.Buffer
	if err := Write(&b, "folder", time.Unix(1, 0), parts); err != nil {
		t.Fatal(err)
	}
	uncompressed, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for archive := tar.NewReader(uncompressed); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil || head.Mode != 0o600 {
			t.Errorf("%s: mode %o, %v", head.Name, head.Mode, err)
		}
		got[head.Name] = string(text)
	}
	contents := got["folder/contents.txt"]
	if len(got) != 3 || got["folder/a.txt"] != "text" || !strings.HasPrefix(contents, "head\n") ||
		!strings.Contains(contents, "a.txt, 4 bytes") || !strings.Contains(contents, "missing: 1\n  p/b: no response\n") {
		t.Errorf("%q", got)
	}
}

// full is a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestArchiveOnAFullDisk(t *testing.T) {
	if err := Write(full{}, "folder", time.Now(), []Part{{Name: "a", Text: make([]byte, 1<<20)}}); err == nil {
		t.Error("no error")
	}
}

func TestSystem(t *testing.T) {
	text := System(t.TempDir(), "/does/not/exist")
	for _, want := range []string{"== /proc/self/limits\n", "Max open files", "net.core.somaxconn = ", " bytes, ", "/does/not/exist: no such file"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
