//go:build e2e

package console_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// TestE2EConsole uses the console in Debian's Chromium, with a server for each story.
// Screenshots are written to $CONSOLE_SHOTS, or to a new temporary folder.
func TestE2EConsole(t *testing.T) {
	shots := consoleShots(t)
	modules := t.TempDir()
	install := exec.Command("npm", append([]string{"install", "--no-audit", "--no-fund", "--no-package-lock"}, harness.ConsoleClients...)...)
	install.Dir = modules
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	const token = "drawn-for-this-test"
	speech, err := filepath.Abs("demo/inspect/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name  string
		flags []string
		args  []string
	}{
		{"drop", nil, nil},
		{"faults", nil, nil},
		{"restart", nil, nil},
		{"pages", nil, nil},
		{"tasks", nil, nil},
		{"hostile", nil, nil},
		{"token", []string{"-token", token}, []string{token, speech}},
	} {
		t.Run(story.name, func(t *testing.T) {
			// The console connects to the address in -admin, so the port cannot be
			// chosen by the server.
			g := harness.Start(t, t.TempDir(), append([]string{"-procs", "2", "-admin", "127.0.0.1:" + harness.FreePort(t)}, story.flags...)...)
			out := t.TempDir()
			script, err := filepath.Abs(filepath.Join("test/console/testdata", story.name+".mjs"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
			defer cancel()
			args := append([]string{script, g.URL, g.Admin, fmt.Sprint(g.Cmd.Process.Pid), out}, story.args...)
			cmd := exec.CommandContext(ctx, "node", args...)
			cmd.Dir = modules
			text, err := cmd.CombinedOutput()
			keepShots(t, out, shots)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			t.Logf("%s", bytes.TrimSpace(text))
		})
	}
	t.Logf("screenshots are in %s", shots)
}

// consoleShots returns the folder for screenshots.
func consoleShots(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CONSOLE_SHOTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "gale-console")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// keepShots moves the screenshots of a story to the folder of all, and checks that
// each is a picture.
func keepShots(t *testing.T, from, to string) {
	t.Helper()
	pictures, err := filepath.Glob(filepath.Join(from, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pictures {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
