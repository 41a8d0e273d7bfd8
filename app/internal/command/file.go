// Package command makes tasks of programs: what a TOML file says may be run,
// with which arguments, and within which limits. No shell takes part, and what
// a client sends never becomes more than a part of one argument.
package command

import (
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// Defaults of a table of the file.
const (
	DefaultTimeout   = 10 * time.Minute
	DefaultMaxOutput = 1 << 20
	// DefaultRetries is how often a task with retry_codes is tried again for
	// which nothing else was asked.
	DefaultRetries = 5
)

// Bounds of the file.
const (
	maxFile   = 1 << 20
	maxOutput = 1 << 30
	maxArgs   = 32 // {31} is the last
)

// Spec is a command task, as a table [tasks.NAME] of the file has it.
type Spec struct {
	Name       string
	Argv       []string
	Args       []string // names of the arguments, for placeholders and keywords
	OnUpload   []string // patterns of path.Match, without regard to case
	Env        []string // NAME=value, all that the program gets beside PATH and ARTIFACTS
	Timeout    time.Duration
	MaxOutput  int
	RetryCodes []int
	Schedule   string
	Missed     string // once or skip: what becomes of moments that nobody was there for
	Queue      string // where the task waits; empty: jobs.DefaultQueue
	Rate       string // how often it begins at most, over all workers; empty: no limit
}

// Load reads a file of command tasks. lookup finds the variables that env names
// without a value. It returns all that is wrong with the file, a line each.
func Load(file string, lookup func(name string) (value string, ok bool)) (specs []Spec, faults []string) {
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("%s is no file of at most 1 MiB", file)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, []string{err.Error()}
	}
	return parse(string(text), lookup)
}

func parse(text string, lookup func(string) (string, bool)) (specs []Spec, faults []string) {
	var all map[string]any
	if _, err := toml.Decode(text, &all); err != nil {
		return nil, []string{strings.TrimPrefix(err.Error(), "toml: ")}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if key != "tasks" {
			faults = append(faults, fmt.Sprintf("%s: unknown key", key))
		}
	}
	tasks, ok := all["tasks"].(map[string]any)
	if _, given := all["tasks"]; given && !ok {
		faults = append(faults, "tasks: wants tables, [tasks.NAME]")
	}
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		t := table{}
		if t.values, ok = tasks[name].(map[string]any); !ok {
			t.fault("wants a table, [tasks.%s]", name)
		}
		specs = append(specs, t.spec(name, lookup))
		for _, w := range t.unknown("argv", "args", "on_upload", "env", "timeout", "max_output", "retry_codes", "schedule", "missed", "queue", "rate") {
			faults = append(faults, fmt.Sprintf("tasks.%s.%s", name, w))
		}
		for _, w := range t.faults {
			faults = append(faults, fmt.Sprintf("tasks.%s: %s", name, w))
		}
	}
	return specs, faults
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// spec checks a table.
func (t *table) spec(name string, lookup func(string) (string, bool)) Spec {
	s := Spec{
		Name: name, Argv: t.texts("argv"), Args: t.texts("args"), OnUpload: t.texts("on_upload"), Timeout: t.span("timeout", DefaultTimeout),
		MaxOutput: t.whole("max_output", 1, maxOutput, DefaultMaxOutput), RetryCodes: t.codes("retry_codes"),
		Schedule: t.text("schedule", ""), Missed: t.text("missed", "skip"), Queue: t.text("queue", ""), Rate: t.text("rate", ""),
	}
	env := t.texts("env")
	if !jobs.ValidID(name) || len(name) > 64 {
		t.fault("the name is not 1 to 64 letters, digits, dots, underscores and hyphens")
	}
	s.checkArgs(t.fault)
	s.checkArgv(t.fault)
	for _, p := range s.OnUpload {
		if _, err := path.Match(p, "x"); err != nil || p == "" {
			t.fault("on_upload: %q is no pattern, such as *.wav", p)
		}
	}
	for _, e := range env {
		key, _, set := strings.Cut(e, "=")
		if !variable.MatchString(key) || strings.ContainsRune(e, 0) {
			t.fault("env: %q is neither NAME nor NAME=value", e)
			continue
		}
		if value, ok := lookup(key); !set && ok {
			e, set = key+"="+value, true
		}
		switch {
		case !set:
		case !utf8.ValidString(e): // of the environment: the file is in UTF-8
			t.fault("env: the value of %s is not valid UTF-8", key)
		default:
			s.Env = append(s.Env, e)
		}
	}
	if err := fits(s.Argv, s.Env); err != nil {
		t.fault("argv, env: %v", err)
	}
	s.checkTimes(t.fault)
	return s
}

// checkTimes looks at what says where and when the task runs.
func (s Spec) checkTimes(fault func(string, ...any)) {
	if s.Queue != "" && !jobs.ValidID(s.Queue) {
		fault("queue: %q is not letters, digits, dots, underscores and hyphens", s.Queue)
	}
	if err := new(jobs.Rate).UnmarshalText([]byte(s.Rate)); s.Rate != "" && err != nil {
		fault("rate: %v", err)
	}
	if s.Missed != "skip" && s.Missed != "once" {
		fault("missed: %q is neither skip nor once", s.Missed)
	}
	if s.Schedule != "" {
		if _, err := schedule.Parse(s.Schedule); err != nil {
			fault("schedule: %v", err)
		}
		if s.takes() > 0 {
			fault("schedule: a task that takes arguments cannot be scheduled: nobody gives them")
		}
	}
}

var argName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// checkArgs looks at the names of the arguments.
func (s Spec) checkArgs(fault func(string, ...any)) {
	if len(s.Args) > maxArgs-2 {
		fault("args: %d names are more than %d", len(s.Args), maxArgs-2)
	}
	for i, name := range s.Args {
		switch {
		case !argName.MatchString(name):
			fault("args: %q is not a lower-case letter and letters, digits or underscores", name)
		case slices.Contains(named, "{"+name+"}"):
			fault("args: %s stands for the uploaded file or the task", name)
		case slices.Contains(s.Args[:i], name):
			fault("args: %s is there twice", name)
		}
	}
}

// checkArgv looks at the program and at every placeholder.
func (s Spec) checkArgv(fault func(string, ...any)) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		fault("argv: names no program")
		return
	}
	if strings.Contains(s.Argv[0], "{") {
		fault("argv: the program itself cannot be a placeholder")
	}
	for _, element := range s.Argv {
		if strings.ContainsRune(element, 0) {
			fault("argv: %q holds a zero byte", element)
		}
		for _, p := range placeholder.FindAllString(element, -1) {
			if slices.Contains(s.Args, p[1:len(p)-1]) || strings.Contains(p, "_") { // an underscore is in names only
				continue
			}
			n, err := strconv.Atoi(p[1 : len(p)-1])
			if !slices.Contains(named, p) && (err != nil || n >= maxArgs || strconv.Itoa(n) != p[1:len(p)-1]) {
				fault("argv: unknown placeholder %s; there are %s, {0} to {%d} and the names in args", p, strings.Join(named, ", "), maxArgs-1)
			}
		}
	}
}
