package config

import (
	"flag"
	"io"
	"slices"
	"strings"
)

// Verb is a command of the program as help, the manual page and the shells'
// completions have it.
type Verb struct {
	Name  string
	Synopsis []string // what is typed behind the program's name
	Summary  string   // half a sentence
	Arguments []string // what may follow the verb, beside flags
	Flags bool     // whether it takes any
}

// Verbs returns the commands in the order in which they are explained.
func Verbs() []Verb {
	return []Verb{
		{Name: "serve", Synopsis: []string{"[serve] [flags]"}, Summary: "serve HTTP from N processes, with job workers beside them", Flags: true},
		{Name: "worker", Synopsis: []string{"worker [flags]"}, Summary: "job workers only", Flags: true},
		{Name: "check", Synopsis: []string{"check [flags]"}, Summary: "say all that is wrong with the configuration", Flags: true},
		{Name: "status", Synopsis: []string{"status [flags]"}, Summary: "what the master knows of its slots", Flags: true},
		{
			Name: "tasks", Summary: "look at tasks and change them", Flags: true,
			Synopsis: []string{
				"tasks list|show ID|log ID|cancel ID|retry ID|dead|schedules [flags]",
				"tasks run NAME [ARGS] [flags] [-- ARGS]",
				"tasks queues [pause NAME|resume NAME] [flags]",
				"tasks purge [-state STATES] [-task NAME] [-queue NAME] [-yes] [flags]",
			},
			Arguments: []string{"list", "show", "log", "cancel", "retry", "dead", "run", "queues", "schedules", "purge"},
		},
		{Name: "version", Synopsis: []string{"version"}, Summary: "print the version"},
		{
			Name: "help", Synopsis: []string{"help [serve|worker|status|tasks]"}, Summary: "print the commands, and the flags of one",
			Arguments: []string{"serve", "worker", "status", "tasks"},
		},
	}
}

// Flag is a flag of a command in words.
type Flag struct {
	Name    string
	Value   string // what stands for its value; empty: it takes none
	Usage   string
	Default string // empty: none, or the usage says it
	// Variable is the variable of the environment that sets the flag, too.
	Variable string
}

// FlagsOf returns the flags of a command, sorted by name. Those of check are those
// of serve.
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

// Usage writes the flags of a command with their defaults.
func (p *Program) Usage(w io.Writer, command Command) {
	f := p.declare(command)
	f.set.SetOutput(w)
	f.set.PrintDefaults()
}

// defined declares the flags of a command.
func (p *Program) declare(command Command) *flags {
	switch command {
	case Status:
		return defineStatus(p, new(StatusOptions))
	case Tasks:
		return defineTasks(p, new(TasksOptions))
	}
	return define(command, p, new(Config))
}
