// Command server is Gale: Tornado's server model, its process manager, its
// task queue and its upload handling as one program. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	_ "time/tzdata" // schedules name time zones, and a container may have none

	"github.com/galeserver/gale/app"
)

// The master starts its children from the main thread, which only an init
// function can make sure of (runtime.LockOSThread; prefork, spawn).
func init() { runtime.LockOSThread() }

func main() {
	err := app.Run(context.Background(), os.Args, os.Environ(), os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "server:", text)
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
