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
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

const tasksUsage = "tasks list|show ID|log ID|cancel ID|retry ID|dead|run NAME [ARGS]|queues [pause|resume NAME]|schedules|purge [flags]"

// tasksVerbs are what server tasks can do, and the words that follow each.
var tasksVerbs = map[string]struct {
	words   wordsOf
	noStore bool
	file    bool // reads -tasks
	run     func(*tasksRun, context.Context) error
}{
	"list":      {noWords, false, false, (*tasksRun).list},
	"show":      {anID, false, false, (*tasksRun).show},
	"log":       {anID, false, false, (*tasksRun).log},
	"cancel":    {anID, false, false, (*tasksRun).cancel},
	"retry":     {anID, false, false, (*tasksRun).retry},
	"dead":      {noWords, false, false, (*tasksRun).dead},
	"run":       {aCall, false, true, (*tasksRun).runTask},
	"queues":    {aQueue, false, false, (*tasksRun).queues},
	"schedules": {noWords, true, true, (*tasksRun).schedules},
	"purge":     {noWords, false, false, (*tasksRun).purge},
}

// tasksRun is one call of the command tasks.
type tasksRun struct {
	app         Application
	store       driver.Store
	opt         config.TasksOptions
	words       []string // what follows the verb, before the flags
	in          io.Reader
	out, errOut io.Writer
}

// tasksCommand is the command tasks. It works on the store itself, whether a
// server runs or not.
func tasksCommand(ctx context.Context, e env) (err error) {
	if len(e.args) == 0 {
		return usageError("what about the tasks? " + e.app.command() + " " + tasksUsage)
	}
	if strings.TrimLeft(e.args[0], "-") == "help" || e.args[0] == "-h" {
		return config.ErrHelp
	}
	verb, known := tasksVerbs[e.args[0]]
	if !known {
		return usageError(fmt.Sprintf("unknown command tasks %q: %s %s", e.args[0], e.app.command(), tasksUsage))
	}
	r := &tasksRun{app: e.app, in: e.stdin, out: e.stdout, errOut: e.stderr}
	words, flags, err := verb.words(e.args[1:])
	if err != nil {
		return usageError(e.app.command() + " tasks " + e.args[0] + " " + err.Error())
	}
	r.words = words
	if r.opt, err = config.LoadTasks(e.program, flags, e.environ, verb.file); err != nil {
		return err
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

// open opens the store, which must be there: who only wants to look must not
// make one.
func (r *tasksRun) open(ctx context.Context, e env) (err error) {
	if r.opt.Broker == config.SQLite {
		if _, err := os.Stat(taskFile(r.opt.Config)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("no tasks in %s: give -data, or -redis, as the server has it", r.opt.Data)
		}
	}
	r.store, err = openTasksFor(ctx, r.opt.Config, commandPatience, meter.NoMeter{}, newLogger(r.opt.Config, e.stderr))
	return err
}

func (r *tasksRun) list(ctx context.Context) error {
	f := r.opt.Query
	q := jobs.Query{Name: f.Task, Queue: f.Queue}
	switch len(f.States) {
	case 0:
	case 1:
		q.State = f.States[0]
	default:
		return usageError(r.app.command() + " tasks list: -state: give one state")
	}
	return r.pages(ctx, q)
}

// dead lists the dead letters.
func (r *tasksRun) dead(ctx context.Context) error {
	return r.pages(ctx, jobs.Query{State: jobs.StateDead, Name: r.opt.Query.Task, Queue: r.opt.Query.Queue})
}

// pages prints the tasks that a query asks for, page after page.
func (r *tasksRun) pages(ctx context.Context, q jobs.Query) error {
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if !r.opt.JSON {
		_, _ = fmt.Fprintln(w, "ID\tTASK\tQUEUE\tSTATE\tPROGRESS\tATTEMPTS\tCREATED\tERROR")
	}
	for left := r.opt.Query.Limit; left > 0; {
		q.Limit = min(left, jobs.MaxPage)
		p, err := r.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, t := range p.Tasks {
			if r.opt.JSON {
				if err := json.NewEncoder(r.out).Encode(t); err != nil {
					return err
				}
				continue
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", t.ID, t.Name, t.Queue, t.State, t.Progress, t.Attempts,
				t.Created.Format(time.RFC3339), oneLine(t.Error))
		}
		left -= len(p.Tasks)
		if q.Before = p.Next; p.Next == 0 {
			break
		}
	}
	return w.Flush()
}

// oneLine fits a text of a task, which may hold anything, into a table.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	return utf8text.Cut(s, 80)
}

func (r *tasksRun) show(ctx context.Context) error {
	return r.print(r.store.Get(ctx, r.words[0]))
}

// cancel ends the workflow of that id, or the task if it begins none.
func (r *tasksRun) cancel(ctx context.Context) error {
	w, t, err := (&jobs.Client{Store: r.store}).CancelAny(ctx, r.words[0])
	if w != nil {
		return r.print(w, err)
	}
	return r.print(t, err)
}

func (r *tasksRun) retry(ctx context.Context) error {
	return r.print(r.store.Requeue(ctx, r.words[0]))
}

// log prints what the task's handler has logged.
func (r *tasksRun) log(ctx context.Context) error {
	text, err := r.store.Log(ctx, r.words[0])
	if err != nil {
		return err
	}
	_, err = io.WriteString(r.out, text)
	return err
}

// print writes the object of a task or a workflow, in one line for machines.
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
