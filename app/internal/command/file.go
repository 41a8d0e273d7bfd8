// Package command runs programs as tasks. A TOML file, the tasks file, defines the
// programs, their arguments and their limits. Programs run without a shell, and a value
// that a client sends can only become part of one argument.
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

	"github.com/BurntSushi/toml"

	"github.com/galeserver/gale/app/internal/program"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// Defaults of the keys of a table [tasks.NAME].
const (
	DefaultTimeout   = 10 * time.Minute
	DefaultMaxOutput = 1 << 20 // bytes
	// DefaultRetries is the number of retries of a task with retry_codes, unless the
	// client sets another number.
	DefaultRetries = 5
)

// Limits of the tasks file.
const (
	maxFile   = 1 << 20 // bytes of the file
	maxOutput = 1 << 30 // largest max_output
	maxArgs   = 32      // arguments of a task; {31} is the last placeholder
)

// Spec is a command task, as a table [tasks.NAME] defines it.
type Spec struct {
	Name       string
	Argv       []string // program and arguments, with placeholders
	Args       []string // names of the arguments
	OnUpload   []string // patterns for names of uploaded files (path.Match), case-insensitive
	Env        []string // environment of the program besides PATH and ARTIFACTS, as NAME=value
	Timeout    time.Duration
	MaxOutput  int    // limit on the output, in bytes
	RetryCodes []int  // exit statuses after which the task is retried
	Schedule   string // schedule, or empty
	Missed     string // missed start times: "skip", or "once" to make up for the last one
	Queue      string // queue of the task; empty: jobs.DefaultQueue
	Rate       string // rate limit over all workers; empty: none
}

// File is the content of a tasks file.
type File struct {
	Tasks   []Spec         // tables [tasks.NAME]
	Workers []program.Spec // tables [workers.NAME]
}

// Load reads a tasks file. lookup returns the value of an environment variable that env
// names without a value. faults lists everything that is wrong with the file, a line
// each.
func Load(file string, lookup func(name string) (value string, ok bool)) (f File, faults []string) {
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("%s is not a regular file of at most 1 MiB", file)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return f, []string{err.Error()}
	}
	return parse(string(text), lookup)
}

func parse(text string, lookup func(string) (string, bool)) (f File, faults []string) {
	var all map[string]any
	if _, err := toml.Decode(text, &all); err != nil {
		return f, []string{strings.TrimPrefix(err.Error(), "toml: ")}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if key != "tasks" && key != "workers" {
			faults = append(faults, fmt.Sprintf("%s: unknown key", key))
		}
	}
	faults = append(faults, tables(all, "tasks", taskKeys, func(t *table, name string) { f.Tasks = append(f.Tasks, t.spec(name, lookup)) })...)
	faults = append(faults, tables(all, "workers", workerKeys, func(t *table, name string) { f.Workers = append(f.Workers, t.worker(name, lookup)) })...)
	return f, faults
}

// tables calls read for each table [kind.NAME], and returns the faults of all of them.
func tables(all map[string]any, kind string, keys []string, read func(t *table, name string)) (faults []string) {
	found, ok := all[kind].(map[string]any)
	if _, given := all[kind]; given && !ok {
		faults = append(faults, fmt.Sprintf("%[1]s: must be tables [%[1]s.NAME]", kind))
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t := table{}
		if t.values, ok = found[name].(map[string]any); !ok {
			t.fault("must be a table [%s.%s]", kind, name)
		}
		read(&t, name)
		for _, w := range t.unknown(keys...) {
			faults = append(faults, fmt.Sprintf("%s.%s.%s", kind, name, w))
		}
		for _, w := range t.faults {
			faults = append(faults, fmt.Sprintf("%s.%s: %s", kind, name, w))
		}
	}
	return faults
}

// taskKeys are the keys of a table [tasks.NAME].
var taskKeys = []string{"argv", "args", "on_upload", "env", "timeout", "max_output", "retry_codes", "schedule", "missed", "queue", "rate"}

// spec returns the task that the table defines, and adds a fault for each error.
func (t *table) spec(name string, lookup func(string) (string, bool)) Spec {
	s := Spec{
		Name: name, Argv: t.strings("argv"), Args: t.strings("args"), OnUpload: t.strings("on_upload"), Timeout: t.duration("timeout", DefaultTimeout),
		MaxOutput: t.integer("max_output", 1, maxOutput, DefaultMaxOutput), RetryCodes: t.exitCodes("retry_codes"),
		Schedule: t.string("schedule", ""), Missed: t.string("missed", "skip"), Queue: t.string("queue", ""), Rate: t.string("rate", ""), Env: t.env(lookup),
	}
	if !jobs.ValidID(name) || len(name) > 64 {
		t.fault("the name must consist of 1 to 64 letters, digits, dots, underscores and hyphens, and must not be \"types\"")
	}
	s.checkArgs(t.fault)
	s.checkArgv(t.fault)
	for _, p := range s.OnUpload {
		if _, err := path.Match(p, "x"); err != nil || p == "" {
			t.fault("on_upload: %q is not a valid pattern, such as *.wav", p)
		}
	}
	if err := checkExecSize(s.Argv, s.Env); err != nil {
		t.fault("argv, env: %v", err)
	}
	s.checkTimes(t.fault)
	return s
}

// checkTimes checks queue, rate and schedule.
func (s Spec) checkTimes(fault func(string, ...any)) {
	if s.Queue != "" && !jobs.ValidID(s.Queue) {
		fault("queue: %q must consist of letters, digits, dots, underscores and hyphens", s.Queue)
	}
	if err := new(jobs.Rate).UnmarshalText([]byte(s.Rate)); s.Rate != "" && err != nil {
		fault("rate: %v", err)
	}
	if s.Missed != "skip" && s.Missed != "once" {
		fault("missed: %q must be skip or once", s.Missed)
	}
	if s.Schedule != "" {
		if _, err := schedule.Parse(s.Schedule); err != nil {
			fault("schedule: %v", err)
		}
		if s.argCount() > 0 {
			fault("schedule: a task that takes arguments cannot have a schedule")
		}
	}
}

var argName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// checkArgs checks the names of the arguments.
func (s Spec) checkArgs(fault func(string, ...any)) {
	if len(s.Args) > maxArgs-2 {
		fault("args: %d names; at most %d are allowed", len(s.Args), maxArgs-2)
	}
	for i, name := range s.Args {
		switch {
		case !argName.MatchString(name):
			fault("args: %q must consist of a lower-case letter followed by lower-case letters, digits and underscores", name)
		case slices.Contains(fixedPlaceholders, "{"+name+"}"):
			fault("args: %s is reserved for the uploaded file or the task", name)
		case slices.Contains(s.Args[:i], name):
			fault("args: %s is given twice", name)
		}
	}
}

// checkArgv checks the program and the placeholders.
func (s Spec) checkArgv(fault func(string, ...any)) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		fault("argv: is empty; give a program")
		return
	}
	if strings.Contains(s.Argv[0], "{") {
		fault("argv: the program must not contain a placeholder")
	}
	for _, element := range s.Argv {
		if strings.ContainsRune(element, 0) {
			fault("argv: %q contains a zero byte", element)
		}
		for _, p := range placeholder.FindAllString(element, -1) {
			if slices.Contains(s.Args, p[1:len(p)-1]) || strings.Contains(p, "_") { // without a name in args, text with an underscore is not a placeholder
				continue
			}
			n, err := strconv.Atoi(p[1 : len(p)-1])
			if !slices.Contains(fixedPlaceholders, p) && (err != nil || n >= maxArgs || strconv.Itoa(n) != p[1:len(p)-1]) {
				fault("argv: unknown placeholder %s; valid are %s, {0} to {%d} and the names in args", p, strings.Join(fixedPlaceholders, ", "), maxArgs-1)
			}
		}
	}
}
