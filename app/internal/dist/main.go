// Command dist builds the release files of a commit: an archive for each architecture and a
// file of checksums. An archive contains the static binary, its manual page, shell
// completions, documents, deployment files and licences. Builds are reproducible: the same
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
	for _, arch := range architectures {
		name, err := release(ctx, folder, arch, environ)
		if err != nil {
			return fmt.Errorf("linux/%s: %w", arch, err)
		}
		archives = append(archives, name)
	}
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

// release builds the archive for one architecture and returns its name.
func release(ctx context.Context, folder, arch string, environ []string) (name string, err error) {
	b, err := compile(ctx, arch, environ)
	if err != nil {
		return "", err
	}
	top := fmt.Sprintf("gale-%s-linux-%s", b.version, arch)
	files, err := contents(ctx, b)
	if err != nil {
		return "", err
	}
	data, err := archive(top, files, b.time)
	if err != nil {
		return "", err
	}
	name = top + ".tar.gz"
	return name, os.WriteFile(filepath.Join(folder, name), data, 0o644)
}
