package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// subcommands lists the subcommands of "tasks" for error messages.
const subcommands = "list, show, log, cancel, retry, dead, run, queues, schedules or purge"

// tasksVerbs holds the subcommands of "tasks".
var tasksVerbs = map[string]struct {
	split   splitArgs
	noStore bool // does not open the task store
	file    bool // reads the tasks file
	run     func(*tasksRun, context.Context) error
}{
	"list":      {takeNone, false, false, (*tasksRun).list},
	"show":      {takeID, false, false, (*tasksRun).show},
	"log":       {takeID, false, false, (*tasksRun).log},
	"cancel":    {takeID, false, false, (*tasksRun).cancel},
	"retry":     {takeID, false, false, (*tasksRun).retry},
	"dead":      {takeNone, false, false, (*tasksRun).dead},
	"run":       {takeCall, false, true, (*tasksRun).runTask},
	"queues":    {takeQueue, false, false, (*tasksRun).queues},
	"schedules": {takeNone, true, true, (*tasksRun).schedules},
	"purge":     {takeNone, false, false, (*tasksRun).purge},
}

// tasksRun is one run of the command "tasks".
type tasksRun struct {
	app         Application
	store       driver.Store
	opt         config.TasksOptions
	words       []string // positional arguments of the subcommand
	in          io.Reader
	out, errOut io.Writer
}

// tasksCommand runs the command "tasks". It opens the task store itself, so it works
// without a running server.
func tasksCommand(ctx context.Context, e env) (err error) {
	if len(e.args) == 0 {
		return usageError("missing subcommand: " + subcommands + "; see " + e.app.command() + " help")
	}
	if strings.TrimLeft(e.args[0], "-") == "help" || e.args[0] == "-h" {
		return config.ErrHelp
	}
	verb, known := tasksVerbs[e.args[0]]
	if !known {
		return usageError(fmt.Sprintf("unknown subcommand %q: must be %s; see %s help", e.args[0], subcommands, e.app.command()))
	}
	r := &tasksRun{app: e.app, in: e.stdin, out: e.stdout, errOut: e.stderr}
	words, flags, err := verb.split(e.args[1:])
	if err != nil {
		return usageError(e.app.command() + " tasks " + e.args[0] + ": " + err.Error())
	}
	r.words = words
	if r.opt, err = config.LoadTasks(e.program, flags, e.environ, verb.file); err != nil {
		return err
	}
	if r.opt.Follow && e.args[0] != "list" {
		return usageError(e.app.command() + " tasks " + e.args[0] + ": -follow: only tasks list has this flag")
	}
	if verb.noStore {
		return verb.run(r, ctx)
	}
	if err := r.open(ctx, e); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.store.Close()) }()
	return verb.run(r, ctx)
}

// open opens the task store. It does not create one.
func (r *tasksRun) open(ctx context.Context, e env) (err error) {
	if r.opt.Broker == config.SQLite {
		if _, err := os.Stat(taskFile(r.opt.Config)); errors.Is(err, fs.ErrNotExist) {
			return noStore(r.opt.Config)
		}
	}
	log := newLogger(r.opt.Config, e.stderr)
	redisdb.SetLogger(log)
	r.store, err = openTasksFor(ctx, r.opt.Config, commandPatience, meter.NoMeter{}, log)
	return err
}

// noStore is the error of commands that do not create a task store.
func noStore(c config.Config) error {
	return fmt.Errorf("no task store in %s: set -data, -redis or -broker as for the server", c.Data)
}

// list lists the tasks that match the flags.
func (r *tasksRun) list(ctx context.Context) error {
	f := r.opt.Query
	q := jobs.Query{Name: f.Task, Queue: f.Queue}
	switch len(f.States) {
	case 0:
	case 1:
		q.State = f.States[0]
	default:
		return usageError(r.app.command() + " tasks list: -state: more than one state")
	}
	if r.opt.Follow {
		return r.follow(ctx, q)
	}
	return r.pages(ctx, q)
}

// dead lists the dead letters.
func (r *tasksRun) dead(ctx context.Context) error {
	return r.pages(ctx, jobs.Query{State: jobs.StateDead, Name: r.opt.Query.Task, Queue: r.opt.Query.Queue})
}

// pages prints the tasks that a query selects, up to -limit.
func (r *tasksRun) pages(ctx context.Context, q jobs.Query) error {
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if !r.opt.JSON {
		_, _ = fmt.Fprintln(w, "ID\tTASK\tQUEUE\tSTATE\tPROGRESS\tATTEMPTS\tCREATED\tERROR")
	}
	err := r.eachTask(ctx, q, func(t *jobs.Task) error {
		if r.opt.JSON {
			return json.NewEncoder(r.out).Encode(t)
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", t.ID, t.Name, t.Queue, t.State, t.Progress, t.Attempts,
			t.Created.Format(time.RFC3339), oneLine(t.Error))
		return err
	})
	return errors.Join(err, w.Flush())
}

// eachTask calls print for the tasks that a query selects, the newest first, up to -limit.
func (r *tasksRun) eachTask(ctx context.Context, q jobs.Query, print func(*jobs.Task) error) error {
	for left := r.opt.Query.Limit; left > 0; {
		q.Limit = min(left, jobs.MaxPage)
		p, err := r.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, t := range p.Tasks {
			if err := print(t); err != nil {
				return err
			}
		}
		left -= len(p.Tasks)
		if q.Before = p.Next; p.Next == 0 {
			break
		}
	}
	return nil
}

// oneLine replaces control characters with spaces and cuts s, so that it fits into a
// table.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	return utf8text.Cut(s, 80)
}

// show prints a task.
func (r *tasksRun) show(ctx context.Context) error {
	return r.print(r.store.Get(ctx, r.words[0]))
}

// cancel cancels the workflow with the given id, or the task if there is no such
// workflow, and prints it.
func (r *tasksRun) cancel(ctx context.Context) error {
	w, t, err := (&jobs.Client{Store: r.store}).CancelAny(ctx, r.words[0])
	if w != nil {
		return r.print(w, err)
	}
	return r.print(t, err)
}

// retry runs a task again that has ended, and prints it.
func (r *tasksRun) retry(ctx context.Context) error {
	return r.print(r.store.Requeue(ctx, r.words[0]))
}

// log prints the log of a task.
func (r *tasksRun) log(ctx context.Context) error {
	text, err := r.store.Log(ctx, r.words[0])
	if err != nil {
		return err
	}
	_, err = io.WriteString(r.out, text)
	return err
}

// print prints a task or a workflow as JSON, on one line with -json.
func (r *tasksRun) print(t any, err error) error {
	if err != nil {
		return err
	}
	enc := json.NewEncoder(r.out)
	if !r.opt.JSON {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(t)
}
