// Package program runs the worker programs of the tasks file: programs that stay running,
// lease tasks from the server and run them, in any language. Package program starts such a
// program, puts its output into the log, and ends it together with everything that it has
// started.
package program

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/process"
)

// Spec is a worker program, as a table [workers.NAME] of the tasks file defines it.
type Spec struct {
	Name     string
	Argv     []string      // program and arguments
	Env      []string      // environment besides the variables that every worker program has, as NAME=value
	Dir      string        // working folder; empty: that of the server
	Slots    int           // number of processes
	Queues   []string      // queues in the variable GALE_QUEUES
	Grace    time.Duration // time between TERM and KILL; 0: that of the server
	MaxTasks int64         // tasks after which a process is replaced; 0: unlimited
	MaxRSS   int64         // resident memory in bytes above which a process is replaced; 0: the limit of the server
}

// Check checks that the program can be started. path is the value of PATH.
func (s Spec) Check(path string) error {
	dir := s.Dir
	if dir == "" {
		dir = "."
	}
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("dir: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("dir: %s is not a folder", dir)
	}
	found, err := process.Find(s.Argv[0], s.Dir, path)
	if err != nil {
		return fmt.Errorf("argv: %w", err)
	}
	info, err := os.Stat(found)
	switch {
	case err != nil:
		return fmt.Errorf("argv: %w", err)
	case info.IsDir():
		return fmt.Errorf("argv: %s is a folder, not a program", found)
	case errors.Is(unix.Access(found, unix.X_OK), unix.EACCES):
		return fmt.Errorf("argv: %s is not executable", found)
	}
	return nil
}
