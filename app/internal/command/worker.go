package command

import (
	"regexp"
	"slices"
	"strings"

	"github.com/galeserver/gale/app/internal/program"
	"github.com/galeserver/gale/internal/bytesize"
	"github.com/galeserver/gale/jobs"
)

// maxSlots is the largest number of slots of a worker program. A larger number is most likely
// a typing error.
const maxSlots = 256

// maxQueues is the largest number of queues of a worker program.
const maxQueues = 100

// workerKeys are the keys of a table [workers.NAME].
var workerKeys = []string{"argv", "env", "dir", "slots", "queues", "grace", "max_tasks", "max_rss"}

// ownVariables are the variables that the server sets for a worker program.
var ownVariables = []string{"GALE_URL", "GALE_WORKER", "GALE_QUEUES"}

// roles are the names of the server's own slots.
var roles = []string{"master", "serve", "worker", "store"}

var workerName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// worker returns the worker program that the table defines, and adds a fault for each error.
func (t *table) worker(name string, lookup func(string) (string, bool)) program.Spec {
	s := program.Spec{
		Name: name, Argv: t.strings("argv"), Env: t.env(lookup), Dir: t.string("dir", ""), Slots: t.integer("slots", 1, maxSlots, 1),
		Queues: t.strings("queues"), Grace: t.duration("grace", 0), MaxTasks: int64(t.integer("max_tasks", 1, 1<<40, 0)), MaxRSS: t.size("max_rss"),
	}
	switch {
	case !workerName.MatchString(name):
		t.fault("the name must be a lower-case letter followed by at most 31 lower-case letters, digits, underscores and hyphens")
	case slices.Contains(roles, name):
		t.fault("the server has slots of this name; choose another one")
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		t.fault("argv: is empty; give a program")
	}
	for _, element := range append(slices.Clone(s.Argv), s.Dir) {
		if strings.ContainsRune(element, 0) {
			t.fault("argv, dir: %q contains a zero byte", element)
		}
	}
	if err := checkExecSize(s.Argv, s.Env); err != nil {
		t.fault("argv, env: %v", err)
	}
	for _, e := range s.Env {
		if key, _, _ := strings.Cut(e, "="); slices.Contains(ownVariables, key) {
			t.fault("env: %s is set by the server", key)
		}
	}
	t.checkQueues(&s)
	return s
}

// checkQueues checks the queues, and sets their default.
func (t *table) checkQueues(s *program.Spec) {
	_, given := t.values["queues"]
	switch {
	case !given:
		s.Queues = []string{jobs.DefaultQueue}
	case len(s.Queues) == 0:
		t.fault("queues: is empty; remove it for the default")
	case len(s.Queues) > maxQueues:
		t.fault("queues: %d names; at most %d are allowed", len(s.Queues), maxQueues)
	}
	for i, q := range s.Queues {
		switch {
		case !jobs.ValidID(q):
			t.fault("queues: %q must consist of letters, digits, dots, underscores and hyphens", q)
		case slices.Contains(s.Queues[:i], q):
			t.fault("queues: %s is given twice", q)
		}
	}
}

// size returns a number of bytes, or a text such as "512MiB". 0 is the default.
func (t *table) size(key string) (n int64) {
	var err error
	switch value := t.values[key].(type) {
	case nil:
		return 0
	case int64:
		n = value
	case string:
		n, err = bytesize.Parse(value)
	default:
		t.fault("%s: must be a size, such as \"512MiB\", or a number of bytes, not %s", key, typeName(value))
		return 0
	}
	switch {
	case err != nil:
		t.fault("%s: %v", key, err)
	case n <= 0:
		t.fault("%s: must be greater than zero; remove it for no limit", key)
	}
	return n
}
