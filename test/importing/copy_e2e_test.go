//go:build e2e

package importing

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A copy of docs/example/shop is a module of its own, if it is made as its README says: it
// passes its tests, builds, is installed and runs.
func TestE2ECopyOfTheShop(t *testing.T) {
	work, environ := publish(t)
	page, err := os.ReadFile(filepath.Join(work, "docs/example/shop/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```sh")
	_, rest, _ = strings.Cut(rest, "\n")
	commands, _, closed := strings.Cut(rest, "```")
	if !found || !closed || !strings.Contains(commands, "cp -r docs/example/shop ../shop") {
		t.Fatalf("no commands in the README:\n%s", page)
	}
	out := run(t, work, environ, "bash", "-e", "-c", commands)
	if n := strings.Count(out, "ok  \texample.com/shop"); n != 2 {
		t.Errorf("the tests passed %d times, want once in one process and once in several:\n%s", n, out)
	}
	if !regexp.MustCompile(`shop .*gale v0\.1\.0`).MatchString(out) {
		t.Errorf("version: %s", out)
	}
	m := &module{dir: filepath.Join(filepath.Dir(work), "shop"), environ: environ}
	stage := t.TempDir()
	m.run(t, "make", "install", "DESTDIR="+stage, "PREFIX=/opt/shop")
	unit, err := os.ReadFile(filepath.Join(stage, "opt/shop/lib/systemd/system/shop.service"))
	if err != nil || !strings.Contains(string(unit), "ExecStart=/opt/shop/bin/shop -data /var/lib/shop\n") {
		t.Errorf("unit: %v\n%s", err, unit)
	}
	if err := os.Rename(filepath.Join(stage, "opt/shop/bin/shop"), filepath.Join(m.dir, "bin", "installed")); err != nil {
		t.Fatal(err)
	}
	s := m.serve(t, "bin/installed", "-procs", "2", "-workers", "1", "-max-copies", "3")
	s.awaitResult(s.order("Ann"), `"printed 2 for Ann"`)
	if status, body := s.get("/console"); status != 200 || !strings.Contains(body, "<html") {
		t.Errorf("GET /console: %d", status)
	}
}
