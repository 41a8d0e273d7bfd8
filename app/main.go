package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	_ "time/tzdata" // schedules name time zones, and a container may have none
)

// The master starts its children from the main thread, and only an init function
// can keep the main goroutine on it (runtime.LockOSThread): once main.main runs it
// may have left. The cost for programs that only import this package is that their
// main goroutine has a thread of its own.
func init() { runtime.LockOSThread() }

// Main runs the application with the arguments and the environment of the process,
// and ends the process with the exit status of the command: 0, 1, or 2 for a
// faulty configuration or command line. Call it from main.
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
