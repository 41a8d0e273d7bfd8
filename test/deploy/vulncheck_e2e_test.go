//go:build e2e

package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// TestE2EVulncheck builds the tool of `make vulncheck` and runs it on one package, with a
// database that has no entries: CI cannot reach the real one.
func TestE2EVulncheck(t *testing.T) {
	db := t.TempDir()
	if err := os.Mkdir(filepath.Join(db, "index"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"db": `{"modified":"2026-01-01T00:00:00Z"}`, "modules": `[]`, "vulns": `[]`} {
		if err := os.WriteFile(filepath.Join(db, "index", name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tools := t.TempDir()
	harness.Run(t, "make", "-s", filepath.Join(tools, "govulncheck"), "TOOLS="+tools)
	out := harness.Run(t, filepath.Join(tools, "govulncheck"), "-db", "file://"+db, "./internal/sleep")
	if !strings.Contains(out, "No vulnerabilities found") {
		t.Errorf("govulncheck: %s", out)
	}
	if plan := harness.Run(t, "make", "-n", "vulncheck", "TOOLS="+tools, "GOVULNDB=file://"+db); !strings.Contains(plan, "-db file://"+db+" ./...") {
		t.Errorf("make vulncheck runs %s", plan)
	}
}
