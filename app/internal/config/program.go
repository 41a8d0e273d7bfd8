package config

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Program is the application that a configuration is for, as far as commands, flags
// and their documents know it. The zero value is Gale alone.
type Program struct {
	// Name is the command, and in capitals the prefix of the variables of its own
	// flags. Empty: it is Gale's own server, whose flags have Gale's prefix.
	Name string
	// Flags declares the program's own flags. Called at most once.
	Flags func(*flag.FlagSet)
	// Check says what is wrong with them once they are set.
	Check func() []error
	// Tasks are the names of its tasks, OnUpload is the default of -on-upload.
	Tasks    []string
	OnUpload string

	once sync.Once
	set  *flag.FlagSet // its own flags; see own
}

// Setting is a flag with the text that it was set to.
type Setting struct{ Name, Value string }

// Command returns what is typed to run the program.
func (p *Program) Command() string { return cmp.Or(p.Name, "server") }

// own returns the program's own flags.
func (p *Program) own() *flag.FlagSet {
	p.once.Do(func() {
		p.set = flag.NewFlagSet(p.Command(), flag.ContinueOnError)
		if p.Flags != nil {
			p.Flags(p.set)
		}
	})
	return p.set
}

// owns reports whether a flag is the program's own.
func (p *Program) owns(name string) bool { return p.own().Lookup(name) != nil }

// variable is the name under which the environment holds a flag.
func (p *Program) variable(name string) string {
	if p.Name == "" || !p.owns(name) {
		return variable(name)
	}
	return upper(p.Name) + "_" + upper(name)
}

// upper is a name as a variable has it.
func upper(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// Apply sets the program's own flags as the master has set them.
func (p *Program) Apply(settings []Setting) error {
	flags := p.own() // declares them, so that flags without a setting have their defaults
	for _, s := range settings {
		if err := flags.Set(s.Name, s.Value); err != nil {
			return fmt.Errorf("set -%s: %w", s.Name, err)
		}
	}
	return nil
}

// Frozen is the program with its own flags as they are: they are read, and nothing is
// set. It is for a process that reads its configuration again while it uses them.
func (p *Program) Frozen() *Program {
	f := &Program{Name: p.Name, Tasks: p.Tasks, OnUpload: p.OnUpload}
	f.once.Do(func() {
		f.set = flag.NewFlagSet(p.Command(), flag.ContinueOnError)
		p.own().VisitAll(func(fl *flag.Flag) {
			_, isBool := fl.Value.(interface{ IsBoolFlag() bool })
			f.set.Var(recorder{isBool, func(string) {}}, fl.Name, fl.Usage)
		})
	})
	return f
}

// reserved are variables that the master sets for its children.
var reserved = []string{"SLOT", "GENERATION", "INSTANCE", "REPORTS", "STATE", "TRIAL", "STORE_SLOT"}

// clashes says which of the program's own flags cannot be told from Gale's.
func (p *Program) clashes() (faults Faults) {
	taken, variables := map[string]bool{"h": true, "help": true}, map[string]bool{}
	for _, name := range reserved {
		variables["GALE_"+name] = true
	}
	alone := &Program{}
	for _, command := range []Command{Serve, Status, Tasks} {
		alone.defined(command).set.VisitAll(func(fl *flag.Flag) {
			taken[fl.Name], variables[variable(fl.Name)] = true, true
		})
	}
	p.own().VisitAll(func(fl *flag.Flag) {
		switch {
		case taken[fl.Name]:
			faults = append(faults, fmt.Sprintf("-%s: a flag of %s has the name of one of Gale's", fl.Name, p.Command()))
		case variables[p.variable(fl.Name)]:
			faults = append(faults, fmt.Sprintf("-%s: the variable of this flag of %s, %s, is one of Gale's", fl.Name, p.Command(), p.variable(fl.Name)))
		}
	})
	if p.Name != "" && strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(p.Name, "-") {
		faults = append(faults, fmt.Sprintf("application name %q: lower-case letters, digits and hyphens only", p.Name))
	}
	return faults
}

// addOwn declares the program's own flags beside Gale's. One with the name of
// Gale's is left out: clashes reports it.
func (f *flags) addOwn() {
	f.program.own().VisitAll(func(fl *flag.Flag) {
		if f.set.Lookup(fl.Name) == nil {
			f.set.Var(fl.Value, fl.Name, fl.Usage)
			f.set.Lookup(fl.Name).DefValue = fl.DefValue
		}
	})
}

// checkOwn notes what the program itself finds wrong with its flags.
func (f *flags) checkOwn() {
	if f.program.Check == nil {
		return
	}
	for _, err := range slices.DeleteFunc(f.program.Check(), func(err error) bool { return err == nil }) {
		f.fault("%v", err)
	}
}
