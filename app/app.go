// Package app is the platform: it makes a server of an Application, with all
// commands and flags, prefork, reload, workers, uploads, channels, console and
// metrics. A program of your own is a main function that calls Main.
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
	"github.com/galeserver/gale/prefork"
)

const usageHead = "Gale: Tornado's server model as one program"

const usageTail = `
Flags follow the verb. Each can be set as GALE_NAME too%s, or in the file that
-config names.
`

// usage lists the commands.
func usage(a Application) string {
	var b strings.Builder
	head := usageHead
	if a.Name != "" {
		head = a.Name + ": an application on Gale"
	}
	fmt.Fprintf(&b, "%s\n\nusage:\n", head)
	name := a.command()
	width := 17 + len("server") - len(name) // beyond it what a command does stands on the next line
	for _, v := range config.Verbs() {
		for _, form := range v.Forms[:len(v.Forms)-1] {
			fmt.Fprintf(&b, "  %s %s\n", name, form)
		}
		if last := v.Forms[len(v.Forms)-1]; len(last) > width {
			fmt.Fprintf(&b, "  %s %s\n%*s%s\n", name, last, 28, "", v.Does)
		} else {
			fmt.Fprintf(&b, "  %s %-*s  %s\n", name, width, last, v.Does)
		}
	}
	variables := ""
	if a.Name != "" && a.Flags != nil {
		variables = fmt.Sprintf(" (%s's own as %s_NAME)", name, strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	fmt.Fprintf(&b, usageTail, variables)
	return b.String()
}

// env is what a command runs with.
type env struct {
	app            Application
	program        *config.Program // the application as its configuration knows it
	command        []string        // the program and all of its arguments
	args           []string        // what follows the verb
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Run runs the application: args begin with the program's name, environ is in the
// form of os.Environ. It returns when the command has ended; an error may have a
// method ExitCode, and one whose text is empty has been logged. It must be called
// on the main thread, as Main does: a master starts its children from there.
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
	case "tasks":
		return tasksCommand(ctx, e)
	case "version":
		_, err := fmt.Fprintln(e.stdout, version(e.app))
		return err
	case "help":
		return help(e, append(e.args, "")[0])
	}
	return usageError(fmt.Sprintf("unknown command %q; %s help lists them", verb, e.app.command()))
}

// usageError is a command line that means nothing.
type usageError string

func (u usageError) Error() string { return string(u) }

// ExitCode is 2, as for a fault in the configuration.
func (usageError) ExitCode() int { return 2 }

// help prints the commands and, for one that has them, its flags.
func help(e env, verb string) error {
	if _, err := io.WriteString(e.stdout, usage(e.app)); err != nil {
		return err
	}
	command := config.Serve
	if verb == string(config.Worker) || verb == string(config.Status) || verb == string(config.Tasks) {
		command = config.Command(verb)
	}
	_, _ = fmt.Fprintf(e.stdout, "\nflags of %s %s:\n", e.app.command(), command)
	e.program.Usage(e.stdout, command)
	return nil
}

// check is the command of that name.
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
