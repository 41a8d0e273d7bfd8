// Package app is the application that `server` runs: its commands, and the
// wiring of master, serving children and workers. Nothing but main imports it.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/prefork"
)

const usageHead = `Gale: Tornado's server model as one program

usage:
`

const usageTail = `
Flags follow the verb. Each can be set as GALE_NAME too, or in the file that
-config names.
`

// usage lists the commands.
func usage() string {
	const width = 17 // beyond it what a command does stands on the next line
	var b strings.Builder
	b.WriteString(usageHead)
	for _, v := range config.Verbs() {
		for _, form := range v.Forms[:len(v.Forms)-1] {
			fmt.Fprintf(&b, "  server %s\n", form)
		}
		if last := v.Forms[len(v.Forms)-1]; len(last) > width {
			fmt.Fprintf(&b, "  server %s\n%*s%s\n", last, width+11, "", v.Does)
		} else {
			fmt.Fprintf(&b, "  server %-*s  %s\n", width, last, v.Does)
		}
	}
	b.WriteString(usageTail)
	return b.String()
}

// env is what a command runs with.
type env struct {
	command        []string // the program and all of its arguments
	args           []string // what follows the verb
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Run is the program: args begin with the program's name, environ is in the
// form of os.Environ. It returns when the command has ended; an error may have a
// method ExitCode. It must be called on the main thread, see prefork.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	e := env{command: args, args: args[1:], environ: environ, stdin: os.Stdin, stdout: stdout, stderr: stderr}
	child, ok, err := prefork.Inherit(environ)
	if err != nil {
		return err
	}
	if ok {
		return runChild(ctx, child, e)
	}
	verb := "serve"
	if len(e.args) > 0 && !strings.HasPrefix(e.args[0], "-") {
		verb, e.args = e.args[0], e.args[1:]
	}
	err = dispatch(ctx, verb, e)
	if errors.Is(err, config.ErrHelp) {
		return help(e, verb)
	}
	return err
}

func dispatch(ctx context.Context, verb string, e env) error {
	switch verb {
	case "serve":
		return runMaster(ctx, config.Serve, e)
	case "worker":
		return runMaster(ctx, config.Worker, e)
	case "check":
		return check(e)
	case "status":
		return status(ctx, e)
	case "tasks":
		return tasksCommand(ctx, e)
	case "version":
		_, err := fmt.Fprintln(e.stdout, version())
		return err
	case "help":
		return help(e, append(e.args, "")[0])
	}
	return usageError(fmt.Sprintf("unknown command %q; server help lists them", verb))
}

// usageError is a command line that means nothing.
type usageError string

func (u usageError) Error() string { return string(u) }

// ExitCode is 2, as for a fault in the configuration.
func (usageError) ExitCode() int { return 2 }

// help prints the commands and, for one that has them, its flags.
func help(e env, verb string) error {
	if _, err := io.WriteString(e.stdout, usage()); err != nil {
		return err
	}
	command := config.Serve
	if verb == string(config.Worker) || verb == string(config.Status) || verb == string(config.Tasks) {
		command = config.Command(verb)
	}
	_, _ = fmt.Fprintf(e.stdout, "\nflags of server %s:\n", command)
	config.Usage(e.stdout, command)
	return nil
}

// check is the command of that name.
func check(e env) error {
	c, err := config.Load(config.Serve, e.args, e.environ, taskNames())
	if err != nil {
		return err
	}
	for _, warning := range c.Warnings() {
		if _, err := fmt.Fprintln(e.stderr, "warning:", warning); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(e.stdout, "configuration is sound: %d serve slots on %s, %d worker slots\n", c.Procs, c.Address(), c.Workers)
	return err
}

// version is the commit that the binary was built from, as far as the build
// recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	v := cmp.Or(info.Main.Version, "(devel)")
	if rev := set["vcs.revision"]; rev != "" && v == "(devel)" {
		v = rev
		if set["vcs.modified"] == "true" {
			v += "+dirty"
		}
	}
	return fmt.Sprintf("gale %s %s", v, info.GoVersion)
}

// newLogger makes the log of a process, on stderr.
func newLogger(c config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // config has checked it
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
