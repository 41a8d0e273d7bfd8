// Package app turns an Application into a complete server: HTTP and WebSockets in
// several processes, reloads without lost connections, task workers, uploads,
// channels, the console, metrics, and all commands and flags. These parts are called
// the platform; the Application adds flags, tasks and routes of its own.
//
// A program is a main function that calls Main with its Application. The handlers of
// its routes and tasks work with Services. Tests start the application with package
// apptest.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/prefork"
)

const usageHead = "Gale: Tornado's server model as one program"

const usageTail = `
Flags follow the command. Each flag can also be set as the environment variable
GALE_NAME%s, or in the file that -config names.
`

// usage returns the list of commands.
func usage(a Application) string {
	var b strings.Builder
	head := usageHead
	if a.Name != "" {
		head = a.Name + ": an application on Gale"
	}
	fmt.Fprintf(&b, "%s\n\nusage:\n", head)
	name := a.command()
	width := 17 + len("server") - len(name) // a longer form has its description on the next line
	for _, v := range config.Verbs() {
		for _, form := range v.Synopsis[:len(v.Synopsis)-1] {
			fmt.Fprintf(&b, "  %s %s\n", name, form)
		}
		if last := v.Synopsis[len(v.Synopsis)-1]; len(last) > width {
			fmt.Fprintf(&b, "  %s %s\n%*s%s\n", name, last, 28, "", v.Summary)
		} else {
			fmt.Fprintf(&b, "  %s %-*s  %s\n", name, width, last, v.Summary)
		}
	}
	variables := ""
	if a.Name != "" && a.Flags != nil {
		variables = fmt.Sprintf(" (%s's own as %s_NAME)", name, strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	fmt.Fprintf(&b, usageTail, variables)
	return b.String()
}

// env holds the arguments and streams of a command.
type env struct {
	app            Application
	program        *config.Program // the application's name, flags and tasks
	command        []string        // the complete command line
	args           []string        // the arguments after the verb
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Run runs the command in args and returns when it has ended. The first element of
// args is the program's name; environ has the form of os.Environ.
//
// An error may have a method ExitCode() int with the exit status. An error with an
// empty text has already been logged.
//
// Run must be called on the main thread, as Main does, because the master starts its
// children from there. With -single it may be called on any goroutine.
func Run(ctx context.Context, a Application, args, environ []string, stdout, stderr io.Writer) error {
	e := env{app: a, program: a.program(), command: args, args: args[1:], environ: environ, stdin: os.Stdin, stdout: stdout, stderr: stderr}
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
	case "top":
		return topCommand(ctx, e)
	case "tasks":
		return tasksCommand(ctx, e)
	case "reload", "stop", "scale":
		return controlCommand(ctx, verb, e)
	case "backup":
		return backupCommand(ctx, e)
	case "debug":
		return debugCommand(ctx, e)
	case "version":
		_, err := fmt.Fprintln(e.stdout, version(e.app))
		return err
	case "help":
		return help(e, append(e.args, "")[0])
	}
	return usageError(fmt.Sprintf("unknown command %q: run %s help for a list", verb, e.app.command()))
}

// usageError reports a command line that is not valid.
type usageError string

func (u usageError) Error() string { return string(u) }

// ExitCode returns 2, as for a configuration error.
func (usageError) ExitCode() int { return 2 }

// help prints the list of commands, and the flags of verb or of serve.
func help(e env, verb string) error {
	if _, err := io.WriteString(e.stdout, usage(e.app)); err != nil {
		return err
	}
	command := config.Serve
	if config.HasFlags(verb) && verb != "check" {
		command = config.Command(verb)
	}
	_, _ = fmt.Fprintf(e.stdout, "\nflags of %s %s:\n", e.app.command(), command)
	e.program.Usage(e.stdout, command)
	return nil
}

// check runs the command "check".
func check(e env) error {
	c, err := config.Load(config.Serve, e.program, e.args, e.environ)
	if err != nil {
		return err
	}
	if err := checkRoutes(e.app, c); err != nil {
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

// newLogger returns the logger of a process, with the level and format of the
// configuration.
func newLogger(c config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // validated by package config
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if c.LogFormat == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	return slog.New(tracing.LogHandler(h))
}
