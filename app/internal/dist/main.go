// Command dist makes what is handed out of a commit: an archive for each
// architecture with the static binary, its manual page, completions for shells,
// the deployment files and the licences, and a file of checksums. The same
// commit gives the same bytes wherever it is built, with the same Go.
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

// architectures are those of Linux that are built for.
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

// run fills the folder and says what is in it.
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

// release makes the archive for one architecture and returns its name.
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
