// Command dist builds the release files of a commit: an archive for each architecture, the
// wheel of the Python package, and a file of checksums. An archive contains the static binary, its manual page, shell
// completions, documents, deployment files and licences. The wheel needs python3. Builds are reproducible: the same
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
	var archives []string
	var at time.Time
	for _, arch := range architectures {
		name, built, err := release(ctx, folder, arch, environ)
		if err != nil {
			return fmt.Errorf("linux/%s: %w", arch, err)
		}
		archives, at = append(archives, name), built
	}
	name, err := wheel(ctx, folder, environ, at)
	if err != nil {
		return err
	}
	archives = append(archives, name)
	sums, err := checksums(folder, archives)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "SHA256SUMS"), sums, 0o644); err != nil {
		return err
	}
	_, err = stdout.Write(sums)
	return err
}

// release builds the archive for one architecture and returns its name, and the time of the
// commit.
func release(ctx context.Context, folder, arch string, environ []string) (name string, at time.Time, err error) {
	b, err := compile(ctx, arch, environ)
	if err != nil {
		return "", at, err
	}
	top := fmt.Sprintf("gale-%s-linux-%s", b.version, arch)
	files, err := contents(ctx, b)
	if err != nil {
		return "", at, err
	}
	data, err := archive(top, files, b.time)
	if err != nil {
		return "", at, err
	}
	name = top + ".tar.gz"
	return name, b.time, os.WriteFile(filepath.Join(folder, name), data, 0o644)
}
