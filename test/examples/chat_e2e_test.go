//go:build e2e

package examples_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// Two Chromium pages on different processes chat with each other, also after kill -9 of
// one of the processes.
func TestE2EChatInChromium(t *testing.T) {
	modules := harness.InstallNPM(t, harness.ConsoleClients[0])
	// The script reads the admin endpoint, so its port must be known.
	g := serve(t, "chat", "-procs", "2", "-workers", "0", "-admin", "127.0.0.1:"+harness.FreePort(t))
	script, err := filepath.Abs("test/examples/testdata/chat.mjs")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script, g.URL, g.Admin, fmt.Sprint(g.Cmd.Process.Pid), t.TempDir())
	cmd.Dir = modules
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
