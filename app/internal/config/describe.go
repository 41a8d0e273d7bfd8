package config

import (
	"flag"
	"io"
	"slices"
	"strings"
)

// Verb describes a command for the help text, the manual page and shell completion.
type Verb struct {
	Name      string
	Synopsis  []string // command lines without the program's name
	Summary   string   // one line, lower case, without a full stop
	Arguments []string // possible first arguments, for shell completion
	Flags     bool     // whether the command has flags
}

// Verbs returns the commands in the order of the help text.
func Verbs() []Verb {
	return []Verb{
		{Name: "serve", Synopsis: []string{"[serve] [flags]"}, Summary: "serve HTTP from N processes, and run task workers", Flags: true},
		{Name: "worker", Synopsis: []string{"worker [flags]"}, Summary: "run task workers only", Flags: true},
		{Name: "check", Synopsis: []string{"check [flags]"}, Summary: "validate flags and files, and report every fault", Flags: true},
		{Name: "status", Synopsis: []string{"status [flags]"}, Summary: "print the state of each slot of a running server", Flags: true},
		{Name: "top", Synopsis: []string{"top [flags]"}, Summary: "show slots, queues and tasks live in the terminal, with keys to change them", Flags: true},
		{Name: "reload", Synopsis: []string{"reload [flags]"}, Summary: "reload a running server as HUP does, and wait for the outcome", Flags: true},
		{Name: "stop", Synopsis: []string{"stop [flags]"}, Summary: "stop a running server as TERM does, and wait for its end", Flags: true},
		{Name: "scale", Synopsis: []string{"scale ROLE=NUMBER … [flags]"}, Summary: "set the number of slots, as in serve=4 worker=2, until the next reload", Flags: true},
		{
			Name: "tasks", Summary: "list, start, cancel and retry tasks", Flags: true,
			Synopsis: []string{
				"tasks list [-follow] [flags]",
				"tasks show ID|log ID|cancel ID|retry ID|dead|schedules [flags]",
				"tasks run NAME [ARGS] [flags] [-- ARGS]",
				"tasks queues [pause NAME|resume NAME] [flags]",
				"tasks purge [-state STATES] [-task NAME] [-queue NAME] [-yes] [flags]",
			},
			Arguments: []string{"list", "show", "log", "cancel", "retry", "dead", "run", "queues", "schedules", "purge"},
		},
		{Name: "backup", Synopsis: []string{"backup DIR [flags]"}, Summary: "copy -data to the new folder DIR while the server runs", Flags: true},
		{
			Name: "debug", Synopsis: []string{"debug bundle FILE [flags]"}, Summary: "write what a bug report needs into the new archive FILE", Flags: true,
			Arguments: []string{"bundle"},
		},
		{Name: "version", Synopsis: []string{"version"}, Summary: "print the version"},
		{
			Name: "help", Synopsis: []string{"help [serve|worker|status|top|reload|stop|scale|tasks|backup|debug]"}, Summary: "print all commands, and the flags of one",
			Arguments: []string{"serve", "worker", "status", "top", "reload", "stop", "scale", "tasks", "backup", "debug"},
		},
	}
}

// HasFlags reports whether a command has flags.
func HasFlags(command string) bool {
	return slices.ContainsFunc(Verbs(), func(v Verb) bool { return v.Name == command && v.Flags })
}

// Flag describes a flag of a command.
type Flag struct {
	Name     string
	Value    string // placeholder for the value; empty: a boolean flag
	Usage    string
	Default  string // empty: no default, or the usage gives it
	Variable string // environment variable that also sets the flag
}

// FlagsOf returns the flags of a command, sorted by name. The command "check" has the
// flags of serve.
func (p *Program) FlagsOf(command Command) (all []Flag) {
	p.declare(command).set.VisitAll(func(fl *flag.Flag) {
		value, usage := flag.UnquoteUsage(fl)
		described := Flag{Name: fl.Name, Value: value, Usage: strings.ReplaceAll(usage, "\n", " "), Variable: p.variable(fl.Name)}
		if !slices.Contains([]string{"", "0", "false", "off"}, fl.DefValue) {
			described.Default = fl.DefValue
		}
		all = append(all, described)
	})
	return all
}

// Usage writes the flags of a command, with usage texts and defaults.
func (p *Program) Usage(w io.Writer, command Command) {
	f := p.declare(command)
	f.set.SetOutput(w)
	f.set.PrintDefaults()
}

// declare returns the flags of a command.
func (p *Program) declare(command Command) *flags {
	switch command {
	case Status:
		return defineStatus(p, new(StatusOptions))
	case Top:
		return defineTop(p, new(TopOptions))
	case Tasks:
		return defineTasks(p, new(TasksOptions))
	case Reload, Stop, Scale:
		return defineControl(p, command, new(ControlOptions))
	case Debug:
		return defineDebug(p, new(DebugOptions))
	case Backup:
		return defineBackup(p, new(Config))
	}
	return define(command, p, new(Config))
}
