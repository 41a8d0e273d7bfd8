// Command dist builds the release files of a commit: for each architecture an archive and a
// software bill of materials, the wheel of the Python package, and a file of checksums. An
// archive contains the static binary, its manual page, shell completions, documents,
// deployment files and licences. The wheel needs python3. Builds are reproducible: the same
// commit and the same version of Go give the same bytes.
//
//	go run ./app/internal/dist [FOLDER]
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// architectures are the values of GOARCH to build for Linux.
var architectures = []string{"amd64", "arm64"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	folder := "dist"
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	err := run(ctx, folder, os.Environ(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// run builds the release files into folder and prints their checksums.
func run(ctx context.Context, folder string, environ []string, stdout io.Writer) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	tools, err := os.MkdirTemp("", "gale-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tools) //nolint:errcheck // a temporary folder
	tool, err := buildTool(ctx, tools, environ)
	if err != nil {
		return err
	}
	var files []string
	var at time.Time
	for _, arch := range architectures {
		names, built, err := release(ctx, folder, arch, tool, environ)
		if err != nil {
			return fmt.Errorf("linux/%s: %w", arch, err)
		}
		files, at = append(files, names...), built
	}
	name, err := wheel(ctx, folder, environ, at)
	if err != nil {
		return err
	}
	files = append(files, name)
	sums, err := checksums(folder, files)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "SHA256SUMS"), sums, 0o644); err != nil {
		return err
	}
	_, err = stdout.Write(sums)
	return err
}

// release builds the archive and the list of components for one architecture. It returns
// their names, and the time of the commit.
func release(ctx context.Context, folder, arch, tool string, environ []string) (names []string, at time.Time, err error) {
	b, err := compile(ctx, arch, environ)
	if err != nil {
		return nil, at, err
	}
	components, err := sbom(ctx, tool, b)
	if err != nil {
		return nil, at, err
	}
	top := fmt.Sprintf("gale-%s-linux-%s", b.version, arch)
	files, err := contents(ctx, b)
	if err != nil {
		return nil, at, err
	}
	data, err := archive(top, files, b.time)
	if err != nil {
		return nil, at, err
	}
	for suffix, content := range map[string][]byte{".tar.gz": data, ".cdx.json": components} {
		if err := os.WriteFile(filepath.Join(folder, top+suffix), content, 0o644); err != nil {
			return nil, at, err
		}
		names = append(names, top+suffix)
	}
	return names, b.time, nil
}
