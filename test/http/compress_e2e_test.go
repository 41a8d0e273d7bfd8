//go:build e2e

package http_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// curl decodes what it gets with --compressed, from a handler, from /static/ and in parts.
func TestE2ECurlCompressed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := strings.Repeat("0123456789", 1000)
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-compress", "-static", dir)
	for _, row := range []struct {
		path, body string
		args       []string
		coded      bool
	}{
		{greeting, greeted, nil, true},
		{"/static/a.txt", content, nil, true},
		{"/static/a.txt", content[5:16], []string{"-r", "5-15"}, false},
	} {
		out := harness.Run(t, "curl", append(row.args, "-sS", "--compressed", "-D", "-", g.URL+row.path)...)
		head, body, _ := strings.Cut(out, "\r\n\r\n")
		if strings.Contains(head, "Content-Encoding: ") != row.coded || body != row.body {
			t.Errorf("%s: %d bytes\n%s", row.path, len(body), head)
		}
	}
}
