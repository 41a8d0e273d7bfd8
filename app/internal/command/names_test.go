package command

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// Named arguments can be given by name and by position.
func TestNamedArguments(t *testing.T) {
	for text, want := range map[string][]string{
		`argv = ["print", "-n{copies}", "--to={customer_id}", "{0}", "{no_name}"]
		args = ["customer_id", "copies"]`: {"print", "-n2", "--to=a", "a", "{no_name}"},
		`argv = ["print", "{file}", "{1}", "{2}", "{title}"]
		args = ["title"]`: {"print", "/file", "b.wav", "c", "c"},
	} {
		s := load(t, "[tasks.print]\n"+text)[0]
		d := Task(s, Env{})
		values := []string{"a", "2"}
		if s.isForFile() {
			values = []string{"a", "b.wav", "c"}
		}
		if len(d.Args) != len(values) || s.argCount() != len(values) {
			t.Errorf("%s: takes %d, %+v", text, s.argCount(), d.Args)
			continue
		}
		if argv, err := s.expand(values, "/file", "id"); err != nil || !slices.Equal(argv, want) {
			t.Errorf("%s: %q, %v; want %q", text, argv, err, want)
		}
	}
	s := load(t, "[tasks.print]\nargv = [\"print\", \"{copies}\", \"{to}\"]\nargs = [\"to\", \"copies\"]")[0]
	tasks, err := jobs.NewRegistry(Task(s, Env{}))
	if err != nil {
		t.Fatal(err)
	}
	client := &jobs.Client{Tasks: tasks, Store: refusing{}}
	for kwargs, why := range map[string]string{
		`{"to":"a"}`:                         "argument 2 of print, copies, is missing",
		`{"to":"a","copies":"1","more":"b"}`: "print has no argument more",
		`{"to":"a","copies":1}`:              "argument 2 of print, copies, must be a string",
		`{"to":"-a","copies":"1"}`:           "hyphen",
	} {
		if _, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "print", Kwargs: json.RawMessage(kwargs)}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", kwargs, err, why)
		}
	}
	if _, _, err := client.Enqueue(t.Context(), jobs.NewTask{Name: "print", Kwargs: json.RawMessage(`{"copies":"1","to":"a"}`)}); err != nil {
		t.Error(err)
	}
}

func TestWrongNames(t *testing.T) {
	for args, why := range map[string]string{
		`["Title"]`:  `args: "Title" must consist`,
		`["1"]`:      `args: "1" must consist`,
		`["file"]`:   "args: file is reserved for",
		`["a", "a"]`: "args: a is given twice",
		`[1]`:        "args[0]: must be a string",
		`["title"]`:  "unknown placeholder {a}",
	} {
		_, faults := parseTasks("[tasks.t]\nargv = [\"x\", \"{a}\"]\nargs = "+args, noVariables)
		if !strings.Contains(strings.Join(faults, "\n"), why) {
			t.Errorf("%s: %q, want %q", args, faults, why)
		}
	}
}
