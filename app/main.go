package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	_ "time/tzdata" // schedules name time zones, and a container may have none
)

// The master starts its children from the main thread. Only an init function can lock
// the main goroutine to it (runtime.LockOSThread), because the goroutine may have moved
// to another thread before main.main runs. A program that only imports this package
// also has its main goroutine locked to a thread.
func init() { runtime.LockOSThread() }

// Main runs the command in the arguments of the process, with its environment and
// standard streams, and is called from the main function. On success Main returns.
// On an error it prints the error to stderr and ends the process with exit status 1,
// or 2 for an error in the configuration or the command line. The command "tasks run"
// has further exit statuses; see docs/reference/tasks.md.
func Main(a Application) {
	err := Run(context.Background(), a, os.Args, os.Environ(), os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(os.Stderr, "%s: %s\n", a.command(), text)
	}
	code := 1
	if e, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		code = e.ExitCode()
	}
	os.Exit(code)
}
