// Package process finds the programs that the tasks file names, waits for their end, and ends
// everything that they have started.
package process

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Find finds a program like execvp(3) in the folders of path, the value of PATH, but ignores
// relative folders. A name with a slash is a file, relative to dir if it is not absolute. An
// empty dir is the working folder of this process. The error wraps fs.ErrNotExist if there
// is no such program in PATH.
func Find(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		abs, err := filepath.Abs(name)
		if err != nil {
			return "", fmt.Errorf("find %s: %w", name, err)
		}
		return abs, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if full := filepath.Join(dir, name); unix.Access(full, unix.X_OK) == nil {
			return full, nil
		}
	}
	return "", fmt.Errorf("find %s: %w in PATH", name, fs.ErrNotExist)
}

// Exited returns a channel that is closed when a child of this process has ended. The child
// is not reaped, so the kernel cannot reuse its pid, which may also be the id of a group.
func Exited(pid int) <-chan struct{} {
	exited := make(chan struct{})
	go func() { // ends with the process
		defer close(exited)
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return exited
}
