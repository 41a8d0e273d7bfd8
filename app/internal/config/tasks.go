package config

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/galeserver/gale/jobs"
)

// Tasks is the command that looks at tasks and changes them.
const Tasks Command = "tasks"

// TasksOptions are the settings of the command tasks.
type TasksOptions struct {
	Config        // of these Data, Broker, Commands, LogFormat and LogLevel
	Query  Filter // for list and dead
	JSON   bool
	Yes    bool   // for purge: do not ask
	Kwargs string // for run: a JSON object, or empty
}

// Filter is which tasks are listed, or purged.
type Filter struct {
	States      []jobs.State // empty: any
	Task, Queue string       // empty: any
	Limit       int
}

// states is a flag.Value: states of tasks, comma separated or given one by one.
type states struct{ all *[]jobs.State }

// String lists the states.
func (s states) String() string {
	if s.all == nil { // the flag package asks a zero value for its default
		return ""
	}
	names := make([]string, len(*s.all))
	for i, state := range *s.all {
		names[i] = string(state)
	}
	return strings.Join(names, ",")
}

// Set adds what String prints.
func (s states) Set(text string) error {
	for _, name := range list(text) {
		if !jobs.State(name).Valid() {
			return fmt.Errorf("the states of a task are %s", jobs.StateNames())
		}
		*s.all = append(*s.all, jobs.State(name))
	}
	return nil
}

// LoadTasks reads the settings of the command tasks, as Load does; a file of
// flags for the server serves here too. The file of -tasks is read if readFile says
// so: a broken one must not keep anyone from cancelling a task.
func LoadTasks(p *Program, args, environ []string, readFile bool) (TasksOptions, error) {
	var o TasksOptions
	f := defineTasks(p, &o)
	if err := f.load(args, environ); err != nil {
		return o, err
	}
	o.Broker = cmp.Or(o.Broker, o.Redis, SQLite)
	f.folderOrRedis(o.Config)
	if readFile {
		f.commands(&o.Config, environ, p.Tasks)
	}
	f.oneOf("log-format", o.LogFormat, "text", "json")
	f.oneOf("log-level", o.LogLevel, "debug", "info", "warn", "error")
	f.within("limit", o.Query.Limit, 1, maxListed)
	if len(f.faults) > 0 {
		return o, f.faults
	}
	return o, nil
}

// maxListed bounds server tasks list.
const maxListed = 1_000_000

// defineTasks declares the flags of the command tasks: some of the server's,
// and its own.
func defineTasks(p *Program, o *TasksOptions) *flags {
	all, f := define(Serve, p, &o.Config), newFlags(Tasks, p)
	f.others = all.set
	f.filled = []string{"broker", "config", "state", "task", "queue"}
	for _, name := range []string{"data", "redis", "broker", "tasks", "log-format", "log-level"} {
		fl := all.set.Lookup(name)
		f.set.Var(fl.Value, name, fl.Usage)
	}
	f.set.StringVar(&f.file, "config", "", "`file` of flags; those of the server that mean nothing here are passed over")
	f.own = []string{"state", "task", "queue", "limit", "json", "yes", "kwargs"}
	f.set.Var(states{&o.Query.States}, "state", "list only tasks in this `state`: "+jobs.StateNames()+";\npurge: those in one of these, comma separated (default scheduled,queued,retrying)")
	f.set.StringVar(&o.Query.Task, "task", "", "list or purge only tasks of this `name`")
	f.set.StringVar(&o.Query.Queue, "queue", "", "list or purge only tasks of this `queue`; run: where the task waits")
	f.set.IntVar(&o.Query.Limit, "limit", jobs.Query{}.PageSize(), "`number` of tasks to list at most, newest first")
	f.set.BoolVar(&o.JSON, "json", false, "print JSON, for machines: list and dead an object a line")
	f.set.StringVar(&o.Kwargs, "kwargs", "", "run: arguments by name, a JSON `object`")
	f.set.BoolVar(&o.Yes, "yes", false, "purge: do not ask")
	return f
}

// elsewhere reports whether a flag is one of another command, so that a file
// may name it.
func (f *flags) elsewhere(name string) bool {
	return f.others != nil && f.others.Lookup(name) != nil && f.set.Lookup(name) == nil
}

// ownOnly reports whether a flag is for the command line alone: a variable or a
// file that says the same word means the server's flag.
func (f *flags) ownOnly(fl *flag.Flag) bool { return slices.Contains(f.own, fl.Name) }

// folderOrRedis checks where the tasks are.
func (f *flags) folderOrRedis(c Config) {
	if c.Broker == SQLite {
		if c.Data == "" {
			f.fault("-data: names no folder")
		}
		return
	}
	f.broker(c)
}
