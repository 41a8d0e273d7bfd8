package config

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/galeserver/gale/jobs"
)

// Tasks is the command that lists and changes tasks.
const Tasks Command = "tasks"

// TasksOptions are the settings of the command tasks.
type TasksOptions struct {
	Config        // only Data, Redis, Broker, TasksFile, Commands, Path, LogFormat and LogLevel are set
	Query  Filter // tasks to list or purge
	JSON   bool
	Follow bool   // list the tasks, then each change
	Yes    bool   // purge without confirmation
	Kwargs string // arguments of run by name, a JSON object, or empty
}

// Filter selects tasks.
type Filter struct {
	States      []jobs.State // empty: all
	Task, Queue string       // empty: all
	Limit       int          // maximum number of tasks to list
}

// states is a flag.Value for a comma-separated list of task states. The flag may be
// repeated.
type states struct{ all *[]jobs.State }

// String returns the states, comma-separated.
func (s states) String() string {
	if s.all == nil { // package flag calls String on a zero value
		return ""
	}
	names := make([]string, len(*s.all))
	for i, state := range *s.all {
		names[i] = string(state)
	}
	return strings.Join(names, ",")
}

// Set adds states in the form that String returns.
func (s states) Set(text string) error {
	for _, name := range splitList(text) {
		if !jobs.State(name).Valid() {
			return fmt.Errorf("%q is not a task state; the states are %s", name, jobs.StateNames())
		}
		*s.all = append(*s.all, jobs.State(name))
	}
	return nil
}

// LoadTasks is like Load for the command tasks. The file that -config names may contain
// flags of other commands, so that the server's file can be used. The tasks file is only
// read if readFile is true: its faults must not prevent a user from cancelling a task.
func LoadTasks(p *Program, args, environ []string, readFile bool) (TasksOptions, error) {
	var o TasksOptions
	f := defineTasks(p, &o)
	if err := f.load(args, environ); err != nil {
		return o, err
	}
	o.Broker = cmp.Or(o.Broker, o.Redis, SQLite)
	f.checkTaskStore(o.Config)
	if readFile {
		f.loadTasksFile(&o.Config, environ, p.Tasks)
	}
	f.checkOneOf("log-format", o.LogFormat, "text", "json")
	f.checkOneOf("log-level", o.LogLevel, "debug", "info", "warn", "error")
	f.checkRange("limit", o.Query.Limit, 1, maxListed)
	if len(f.faults) > 0 {
		return o, f.faults
	}
	return o, nil
}

// maxListed is the largest value of -limit.
const maxListed = 1_000_000

// defineTasks declares the flags of the command tasks. Some are flags of the server.
func defineTasks(p *Program, o *TasksOptions) *flags {
	all, f := define(Serve, p, &o.Config), newFlags(Tasks, p)
	f.otherFlags = all.set
	f.nonEmpty = []string{"broker", "config", "state", "task", "queue"}
	for _, name := range []string{"data", "redis", "broker", "tasks", "log-format", "log-level"} {
		fl := all.set.Lookup(name)
		f.set.Var(fl.Value, name, fl.Usage)
	}
	f.set.StringVar(&f.file, "config", "", "`file` of flags; flags of other commands in it are ignored")
	f.commandLineOnly = []string{"state", "task", "queue", "limit", "follow", "json", "yes", "kwargs"}
	f.set.Var(states{&o.Query.States}, "state", "list: only tasks in this `state`, one of "+jobs.StateNames()+";\npurge: the states of the tasks to purge, comma-separated (default scheduled,queued,retrying)")
	f.set.StringVar(&o.Query.Task, "task", "", "list, dead and purge: only tasks with this `name`")
	f.set.StringVar(&o.Query.Queue, "queue", "", "list, dead and purge: only tasks of this `queue`; run: queue of the new task")
	f.set.IntVar(&o.Query.Limit, "limit", jobs.Query{}.PageSize(), "maximum `number` of tasks to list, newest first")
	f.set.BoolVar(&o.Follow, "follow", false, "list: print the tasks, then one line for each change of a task's state, until interrupted")
	f.set.BoolVar(&o.JSON, "json", false, "print JSON; list and dead print one object per line")
	f.set.StringVar(&o.Kwargs, "kwargs", "", "run: the task's arguments by name, as a JSON `object`")
	f.set.BoolVar(&o.Yes, "yes", false, "purge: do not ask for confirmation")
	return f
}

// isOfOtherCommand reports whether only other commands have the flag. A file may contain
// such flags.
func (f *flags) isOfOtherCommand(name string) bool {
	return f.otherFlags != nil && f.otherFlags.Lookup(name) != nil && f.set.Lookup(name) == nil
}

// isCommandLineOnly reports whether a flag is only read from the command line. In the
// environment and in a file, a flag with the same name is the server's.
func (f *flags) isCommandLineOnly(fl *flag.Flag) bool {
	return slices.Contains(f.commandLineOnly, fl.Name)
}

// checkTaskStore checks -data or -broker, whichever names the task store.
func (f *flags) checkTaskStore(c Config) {
	if c.Broker == SQLite {
		if c.Data == "" {
			f.fault("-data: is empty; give a folder")
		}
		return
	}
	f.checkStore(c)
}
