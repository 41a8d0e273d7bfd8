package command

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/app/internal/program"
)

func TestWorkers(t *testing.T) {
	f, faults := parse(`
		[workers.python]
		argv = ["python3", "-m", "gale", "worker", "tasks:app"]
		env = ["MODE=fast", "LANG", "UNSET"]
		dir = "/srv/app"
		slots = 2
		queues = ["high", "low"]
		grace = 5
		max_tasks = 1000
		max_rss = "512MiB"
		[workers.other]
		argv = ["x", "{0}"]
		max_rss = 4096`, func(name string) (string, bool) { return "C", name == "LANG" })
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := []program.Spec{
		{Name: "other", Argv: []string{"x", "{0}"}, Slots: 1, Queues: []string{"default"}, MaxRSS: 4096},
		{
			Name: "python", Argv: []string{"python3", "-m", "gale", "worker", "tasks:app"}, Env: []string{"MODE=fast", "LANG=C"}, Dir: "/srv/app",
			Slots: 2, Queues: []string{"high", "low"}, Grace: 5 * time.Second, MaxTasks: 1000, MaxRSS: 512 << 20,
		},
	}
	if !reflect.DeepEqual(f.Workers, want) {
		t.Errorf("%+v\n  want %+v", f.Workers, want)
	}
}

func TestWorkerFaults(t *testing.T) {
	for text, want := range map[string]string{
		"workers = 1":                                     "workers: must be tables [workers.NAME]",
		"[workers]\na = 1":                                "workers.a: must be a table [workers.a]",
		"[workers.a]":                                     "workers.a: argv: is empty",
		"[workers.a]\nargv = []":                          "workers.a: argv: is empty",
		"[workers.a]\nargv = [1]":                         "argv[0]: must be a string, not an integer",
		"[workers.Py]\nargv = [\"x\"]":                    "workers.Py: the name must be",
		"[workers.\"a.b\"]\nargv = [\"x\"]":               "workers.a.b: the name must be",
		"[workers.serve]\nargv = [\"x\"]":                 "workers.serve: the server has slots of this name",
		"[workers.a]\nargv = [\"x\"]\nslot = 2":           "workers.a.slot: unknown key; valid keys are argv, env",
		"[workers.a]\nargv = [\"x\"]\nSlots = 2":          "workers.a.Slots: unknown key; use slots",
		"[workers.a]\nargv = [\"x\"]\nslots = 0":          "slots: 0 is not between 1 and 256",
		"[workers.a]\nargv = [\"x\"]\nqueues = []":        "queues: is empty",
		"[workers.a]\nargv = [\"x\"]\nqueues=[\"/\"]":     "queues: \"/\" must consist of",
		"[workers.a]\nargv=[\"x\"]\nqueues=[\"a\",\"a\"]": "queues: a is given twice",
		"[workers.a]\nargv = [\"x\"]\ngrace = 0":          "grace: must be greater than zero",
		"[workers.a]\nargv = [\"x\"]\nmax_tasks = 0":      "max_tasks: 0 is not between 1",
		"[workers.a]\nargv = [\"x\"]\nmax_rss = 0":        "max_rss: must be greater than zero",
		"[workers.a]\nargv = [\"x\"]\nmax_rss=\"1TB\"":    "max_rss: must be a number of bytes, or",
		"[workers.a]\nargv = [\"x\"]\nmax_rss = true":     "max_rss: must be a size",
		"[workers.a]\nargv = [\"x\"]\nenv=[\"1=x\"]":      "env: \"1=x\" must be NAME or NAME=value",
		"[workers.a]\nargv=[\"x\"]\nenv=[\"GALE_URL=x\"]": "env: GALE_URL is set by the server",
		"[workers.a]\nargv = [\"x\\u0000\"]":              "contains a zero byte",
	} {
		if _, faults := parse(text, noVariables); !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("%q: faults %q, want %q", text, faults, want)
		}
	}
	if _, faults := parse("[tasks.a]\n[workers.a]\nslots = -1\nextra = 1", noVariables); len(faults) != 4 {
		t.Errorf("not all faults at once: %q", faults)
	}
}
