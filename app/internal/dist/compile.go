package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// binary is a built program with its build information.
type binary struct {
	content []byte
	version string    // tag or pseudo-version of the commit
	time    time.Time // time of the commit
	environ []string  // environment of the build
}

// errNoCommit is the error of a build outside of a Git checkout.
var errNoCommit = errors.New("the binary contains no commit: build in a git checkout")

// compile builds the server. The binary does not depend on this machine: it contains no
// paths, no C library, and no instructions of newer processors.
func compile(ctx context.Context, arch string, environ []string) (b binary, err error) {
	dir, err := os.MkdirTemp("", "gale-dist-")
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "server")
	b.environ = slices.Concat(environ, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off"})
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = b.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		return b, fmt.Errorf("go build: %w\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return b, err
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if b.time, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return b, fmt.Errorf("time of the commit: %w", err)
			}
		}
	}
	b.version = info.Main.Version
	if b.time.IsZero() || !strings.HasPrefix(b.version, "v") {
		return b, errNoCommit
	}
	b.content, err = os.ReadFile(path)
	return b, err
}
