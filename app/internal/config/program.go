package config

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Program is the application whose configuration is read: its name, its own flags and
// its tasks. The zero value is Gale's own server.
type Program struct {
	// Name is the name of the command. In upper case it is the prefix of the
	// environment variables for the program's own flags. If it is empty, the command is
	// "server" and the prefix is GALE.
	Name string
	// Flags declares the program's own flags. It is called at most once.
	Flags func(*flag.FlagSet)
	// Check validates the program's own flags after they have been set.
	Check func() []error
	// Tasks are the names of the program's tasks.
	Tasks []string
	// OnUpload is the default of -on-upload.
	OnUpload string

	once sync.Once     // declares set
	set  *flag.FlagSet // the program's own flags; use ownFlags
}

// Setting is the name of a flag and the text of its value.
type Setting struct{ Name, Value string }

// Command returns the name of the command.
func (p *Program) Command() string { return cmp.Or(p.Name, "server") }

// ownFlags returns the program's own flags.
func (p *Program) ownFlags() *flag.FlagSet {
	p.once.Do(func() {
		p.set = flag.NewFlagSet(p.Command(), flag.ContinueOnError)
		if p.Flags != nil {
			p.Flags(p.set)
		}
	})
	return p.set
}

// owns reports whether a flag is one of the program's own.
func (p *Program) owns(name string) bool { return p.ownFlags().Lookup(name) != nil }

// variable returns the name of the environment variable for a flag.
func (p *Program) variable(name string) string {
	if p.Name == "" || !p.owns(name) {
		return variable(name)
	}
	return variablePart(p.Name) + "_" + variablePart(name)
}

// variablePart converts a name to the form that environment variables use.
func variablePart(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// Apply sets the program's own flags in a child, to the values that the master has read.
func (p *Program) Apply(settings []Setting) error {
	flags := p.ownFlags() // declares them, so that flags without a setting have their defaults
	for _, s := range settings {
		if err := flags.Set(s.Name, s.Value); err != nil {
			return fmt.Errorf("set -%s: %w", s.Name, err)
		}
	}
	return nil
}

// ReadOnly returns a copy of the program whose own flags are parsed but not set. With
// it, a process can read its configuration again while it uses the flags.
func (p *Program) ReadOnly() *Program {
	f := &Program{Name: p.Name, Tasks: p.Tasks, OnUpload: p.OnUpload}
	f.once.Do(func() {
		f.set = flag.NewFlagSet(p.Command(), flag.ContinueOnError)
		p.ownFlags().VisitAll(func(fl *flag.Flag) {
			f.set.Var(recorder{takesNoValue(fl), func(string) {}}, fl.Name, fl.Usage)
		})
	})
	return f
}

// reserved are the names, without the prefix GALE_, of the variables that the master sets
// for its children.
var reserved = []string{"SLOT", "GENERATION", "INSTANCE", "REPORTS", "SHARED", "STATE", "TRIAL", "STORE_SLOT"}

// flagClashes returns the faults of the program's name, and of own flags whose name or
// environment variable Gale already uses.
func (p *Program) flagClashes() (faults Faults) {
	taken, variables := map[string]bool{"h": true, "help": true}, map[string]bool{}
	for _, name := range reserved {
		variables["GALE_"+name] = true
	}
	alone := &Program{}
	for _, command := range []Command{Serve, Status, Tasks, Reload, Backup, Debug} {
		alone.declare(command).set.VisitAll(func(fl *flag.Flag) {
			taken[fl.Name], variables[variable(fl.Name)] = true, true
		})
	}
	p.ownFlags().VisitAll(func(fl *flag.Flag) {
		switch {
		case taken[fl.Name]:
			faults = append(faults, fmt.Sprintf("-%s: a flag of %s has the same name as one of Gale's flags", fl.Name, p.Command()))
		case variables[p.variable(fl.Name)]:
			faults = append(faults, fmt.Sprintf("-%s: the environment variable %s of this flag of %s is used by Gale", fl.Name, p.variable(fl.Name), p.Command()))
		}
	})
	if p.Name != "" && strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(p.Name, "-") {
		faults = append(faults, fmt.Sprintf("application name %q: must consist of lower-case letters, digits and hyphens", p.Name))
	}
	return faults
}

// addProgram adds the program's own flags. It skips those with the name of one of Gale's
// flags, which flagClashes reports.
func (f *flags) addProgram() {
	f.program.ownFlags().VisitAll(func(fl *flag.Flag) {
		if f.set.Lookup(fl.Name) == nil {
			f.set.Var(fl.Value, fl.Name, fl.Usage)
			f.set.Lookup(fl.Name).DefValue = fl.DefValue
		}
	})
}

// checkProgram adds the faults that the program's Check returns.
func (f *flags) checkProgram() {
	if f.program.Check == nil {
		return
	}
	for _, err := range slices.DeleteFunc(f.program.Check(), func(err error) bool { return err == nil }) {
		f.fault("%v", err)
	}
}
