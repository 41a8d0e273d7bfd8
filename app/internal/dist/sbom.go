package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// sbomTool makes the list of components. The version is exact, so that a release can be
// repeated.
const sbomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// buildTool builds sbomTool for this machine into dir and returns its path.
func buildTool(ctx context.Context, dir string, environ []string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "install", sbomTool)
	cmd.Env = slices.Concat(environ, []string{"GOBIN=" + dir, "GOOS=", "GOARCH=", "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOWORK=off"})
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w\n%s", sbomTool, err, out)
	}
	return filepath.Join(dir, "cyclonedx-gomod"), nil
}

// sbom returns the software bill of materials of a binary in the format CycloneDX (JSON): the
// modules that are linked into it, and Go's standard library, with versions, checksums and
// licences. It contains no time and no serial number.
func sbom(ctx context.Context, tool string, b binary) (list []byte, err error) {
	dir, err := os.MkdirTemp("", "gale-dist-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, out := filepath.Join(dir, "server"), filepath.Join(dir, "sbom.json")
	if err := os.WriteFile(path, b.content, 0o755); err != nil { //nolint:gosec // go version -m reads executables only
		return nil, err
	}
	cmd := exec.CommandContext(ctx, tool, "bin", "-json", "-licenses", "-std", "-noserial", "-notimestamp", "-version", b.version, "-output", out, path)
	// The modules are in the cache, because the binary was built from them. The tool also
	// looks for the release itself, which is not published yet.
	cmd.Env = slices.Concat(b.environ, []string{"GOPROXY=off"})
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list the components: %w\n%s", err, text)
	}
	return os.ReadFile(out)
}
