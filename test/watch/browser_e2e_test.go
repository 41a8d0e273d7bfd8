//go:build e2e

package watch_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// TestE2EWatch saves files while a page is open in Debian's Chromium: a template, a style
// sheet, a template with a fault, and its repair. The script prints how long each took.
func TestE2EWatch(t *testing.T) {
	modules := harness.InstallNPM(t, harness.ConsoleClients...)
	g, dir := site(t)
	script, err := filepath.Abs("testdata/watch.mjs")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script, g.URL, dir, g.Admin)
	cmd.Dir = modules
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%s", bytes.TrimSpace(text))
}
