package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"gale/jobs"
	"gale/server/app/config"
)

// tasksVerbs are what server tasks can do; those that need one take an id.
var tasksVerbs = map[string]struct {
	takesID bool
	run     func(*tasksRun, context.Context) error
}{
	"list":   {false, (*tasksRun).list},
	"show":   {true, (*tasksRun).show},
	"cancel": {true, (*tasksRun).cancel},
	"retry":  {true, (*tasksRun).retry},
	"dead":   {false, (*tasksRun).dead},
	"queues": {false, (*tasksRun).queues},
}

// tasksRun is one call of the command tasks.
type tasksRun struct {
	store jobs.Store
	opt   config.TasksOptions
	id    string
	out   io.Writer
}

// tasksCommand is the command tasks. It works on the store itself, whether a
// server runs or not.
func tasksCommand(ctx context.Context, e env) (err error) {
	const usage = "server tasks list|show ID|cancel ID|retry ID|dead|queues [flags]"
	if len(e.args) == 0 {
		return usageError("what about the tasks? " + usage)
	}
	if strings.TrimLeft(e.args[0], "-") == "help" || e.args[0] == "-h" {
		return config.ErrHelp
	}
	verb, known := tasksVerbs[e.args[0]]
	if !known {
		return usageError(fmt.Sprintf("unknown command tasks %q: %s", e.args[0], usage))
	}
	r, args := &tasksRun{out: e.stdout}, e.args[1:]
	if verb.takesID {
		if len(args) == 0 || !jobs.ValidID(args[0]) {
			return usageError("server tasks " + e.args[0] + " wants the id of a task")
		}
		r.id, args = args[0], args[1:]
	}
	if r.opt, err = config.LoadTasks(args, e.environ); err != nil {
		return err
	}
	if r.opt.Broker == config.SQLite {
		// Who only wants to look must not make a store.
		if _, err := os.Stat(filepath.Join(r.opt.Data, "jobs.db")); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("no tasks in %s: give -data, or -redis, as the server has it", r.opt.Data)
		}
	}
	if r.store, err = openTasks(ctx, r.opt.Config, newLogger(r.opt.Config, e.stderr)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.store.Close()) }()
	return verb.run(r, ctx)
}

func (r *tasksRun) list(ctx context.Context) error {
	f := r.opt.Query
	return r.pages(ctx, jobs.Query{State: jobs.State(f.State), Name: f.Task, Queue: f.Queue})
}

// dead lists the dead letters.
func (r *tasksRun) dead(ctx context.Context) error {
	return r.pages(ctx, jobs.Query{State: jobs.Dead, Name: r.opt.Query.Task, Queue: r.opt.Query.Queue})
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
	return jobs.Cut(s, 80)
}

func (r *tasksRun) show(ctx context.Context) error {
	return r.print(r.store.Get(ctx, r.id))
}

func (r *tasksRun) cancel(ctx context.Context) error {
	return r.print(r.store.Cancel(ctx, r.id))
}

func (r *tasksRun) retry(ctx context.Context) error {
	return r.print(r.store.Requeue(ctx, r.id))
}

// print writes the task object, in one line for machines.
func (r *tasksRun) print(t *jobs.Task, err error) error {
	if err != nil {
		return err
	}
	enc := json.NewEncoder(r.out)
	if !r.opt.JSON {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(t)
}

// queueLine is a queue in the answer of server tasks queues -json.
type queueLine struct {
	Queue     string  `json:"queue"`
	Waiting   int     `json:"waiting"`
	Scheduled int     `json:"scheduled"`
	Running   int     `json:"running"`
	Dead      int     `json:"dead"`
	Oldest    float64 `json:"oldest_seconds"` // of those that wait
}

func (r *tasksRun) queues(ctx context.Context) error {
	all, err := r.store.Depth(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if !r.opt.JSON {
		_, _ = fmt.Fprintln(w, "QUEUE\tWAITING\tSCHEDULED\tRUNNING\tDEAD\tOLDEST")
	}
	for _, d := range all {
		if r.opt.JSON {
			if err := json.NewEncoder(r.out).Encode(queueLine{d.Queue, d.Waiting, d.Scheduled, d.Running, d.Dead, d.Oldest.Seconds()}); err != nil {
				return err
			}
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", d.Queue, d.Waiting, d.Scheduled, d.Running, d.Dead, d.Oldest.Round(time.Millisecond))
	}
	return w.Flush()
}
