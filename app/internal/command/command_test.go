package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func noVariables(string) (string, bool) { return "", false }

func parseTasks(text string, lookup func(string) (string, bool)) ([]Spec, []string) {
	f, faults := parse(text, lookup)
	return f.Tasks, faults
}

func load(t *testing.T, text string) []Spec {
	t.Helper()
	specs, faults := parseTasks(text, noVariables)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return specs
}

func TestFile(t *testing.T) {
	specs, faults := parseTasks(`
		[tasks.flac]
		argv = ["flac", "-o", "../artifacts/{0}.flac", "{file}"]
		on_upload = ["*.WAV"]
		env = ["LANG", "NOT_SET", "MODE=fast"]
		timeout = "90s"
		max_output = 1000
		retry_codes = [75]
		[tasks.nightly]
		argv = ["/bin/true"]
		queue = "night"
		rate = "5/h"
		missed = "once"
		schedule = "0 3 * * *"`, func(name string) (string, bool) { return "C", name == "LANG" })
	if len(faults) > 0 || len(specs) != 2 {
		t.Fatal(specs, faults)
	}
	s := specs[0]
	if s.Name != "flac" || s.Timeout != 90*time.Second || s.MaxOutput != 1000 || !slices.Equal(s.Env, []string{"LANG=C", "MODE=fast"}) ||
		!slices.Equal(s.RetryCodes, []int{75}) || s.argCount() != 2 || !s.accepts("x.wav") || s.accepts("x.mp3") {
		t.Errorf("%+v", s)
	}
	if n := specs[1]; n.Timeout != DefaultTimeout || n.MaxOutput != DefaultMaxOutput || n.argCount() != 0 {
		t.Errorf("%+v", n)
	}
	if periodic, err := Schedules(specs); err != nil || len(periodic) != 1 || periodic[0].Task.Name != "nightly" || !periodic[0].Once {
		t.Errorf("%+v, %v", periodic, err)
	}
	if d := Task(specs[1], Env{}); d.Queue != "night" || d.Rate.Interval() != 12*time.Minute {
		t.Errorf("%+v", d)
	}
	if d := Task(specs[0], Env{}); d.Queue != "" || d.Rate.Interval() != 0 || specs[0].Missed != "skip" {
		t.Errorf("%+v", d)
	}
}

// All faults of a file are reported together.
func TestFileRefused(t *testing.T) {
	for text, want := range map[string]string{
		`[tasks.a]`:                                                                     "argv: is empty",
		"[tasks.a]\nargv = [\"{0}\"]":                                                   "the program must not contain a placeholder",
		"[tasks.a]\nargv = [\"x\", \"{name}\"]":                                         "unknown placeholder {name}",
		"[tasks.a]\nargv = [\"x\", \"{32}\"]":                                           "unknown placeholder {32}",
		"[tasks.a]\nargv = [\"x\", \"{007}\"]":                                          "unknown placeholder {007}",
		"[tasks.a]\nargv = [\"x\\u0000\"]":                                              "zero byte",
		"[tasks.\"a b\"]\nargv = [\"x\"]":                                               "the name must consist",
		"[tasks.types]\nargv = [\"x\"]":                                                 "the name must consist",
		"[tasks.a]\nargv = [\"x\"]\nshell = true":                                       "tasks.a.shell: unknown key",
		"[tasks.a]\nargv = \"x\"":                                                       "argv: must be an array, not a string",
		"[tasks.a]\nargv = [7]":                                                         "argv[0]: must be a string, not an integer",
		"[tasks.a]\nargv = [\"x\"]\nArgv = [\"y\"]":                                     "tasks.a.Argv: unknown key; use argv",
		"[tasks.a]\nargv = [\"x\"]\ntimeout = 0":                                        "timeout: must be greater than zero",
		"[tasks.a]\nargv = [\"x\"]\ntimeout = \"0s\"":                                   "timeout: must be greater than zero",
		"[tasks.a]\nargv = [\"x\"]\ntimeout = \"\"":                                     "timeout: \"\" is not a duration",
		"[tasks.a]\nargv = [\"x\"]\ntimeout = true":                                     "timeout: must be a duration",
		"[tasks.a]\nargv = [\"x\"]\nmax_output = 0":                                     "max_output: 0 is not between 1 and",
		"[tasks.a]\nargv = [\"x\"]\nmax_output = \"1\"":                                 "max_output: must be an integer, not a string",
		"[tasks.a]\nargv = [\"x\"]\nretry_codes = [\"1\"]":                              "retry_codes:",
		"[tasks.a]\nargv = [\"x\"]\nrate = \"\"":                                        "rate: is empty",
		"[tasks.a]\nargv = [\"x\"]\nrate = \"0/s\"":                                     "rate:",
		"[tasks.a]\nargv = [\"x\"]\nqueue = \"\"":                                       "queue: is empty",
		"[tasks.a]\nargv = [\"x\"]\nmissed = \"\"":                                      "missed: is empty",
		"[tasks.a]\nargv = [\"x\"]\nschedule = \"\"":                                    "schedule: is empty",
		"[tasks.a]\nargv = [\"x\"]\nenv = [\"A=" + strings.Repeat("a", 200_000) + "\"]": "argv, env: one element is 200002 bytes long",
		"[tasks.a]\nargv = [\"x\", \"" + strings.Repeat("a", 200_000) + "\"]":           "argv, env: one element is 200000 bytes long",
		"[tasks]\na = 7":                                                                "tasks.a: must be a table",
		"[other]":                                                                       "other: unknown key",
		"[tasks.a]\nargv = [\"x\"]\ntimeout = \"soon\"":                                 "timeout:",
		"[tasks.a]\nargv = [\"x\"]\ntimeout = \"-1s\"":                                  "timeout:",
		"[tasks.a]\nargv = [\"x\"]\nmax_output = -1":                                    "max_output:",
		"[tasks.a]\nargv = [\"x\"]\nretry_codes = [0]":                                  "retry_codes:",
		"[tasks.a]\nargv = [\"x\"]\nenv = [\"A-B\"]":                                    "env:",
		"[tasks.a]\nargv = [\"x\"]\non_upload = [\"[\"]":                                "on_upload:",
		"[tasks.a]\nargv = [\"x\"]\nschedule = \"TZ=UTC\"":                              "schedule:",
		"[tasks.a]\nargv = [\"x\", \"{0}\"]\nschedule = \"@hourly\"":                    "takes arguments",
		`tasks = 7`: "must be tables",
		`[tasks`:    "line 1",
	} {
		if _, faults := parseTasks(text, noVariables); !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("%q: %q, want %q", text, faults, want)
		}
	}
	if _, faults := parseTasks("[tasks.a]\n[tasks.b]\nargv = [\"x\"]\ntimeout = \"0s\"", noVariables); len(faults) != 2 {
		t.Errorf("%q", faults)
	}
	if _, faults := Load(filepath.Join(t.TempDir(), "none.toml"), noVariables); len(faults) != 1 {
		t.Errorf("%q", faults)
	}
	if _, faults := Load("/dev/zero", noVariables); len(faults) != 1 {
		t.Errorf("%q", faults)
	}
}

// A value stays within one element, whatever it contains.
func TestExpand(t *testing.T) {
	s := load(t, `[tasks.a]
		argv = ["x", "-n={0}", "{0}", "a {1} {id} {9}"]`)[0]
	if s.argCount() != 10 {
		t.Fatalf("takes %d", s.argCount())
	}
	args := []string{"{1} {file} $(id) `id`; rm -rf / \"' \n", "{0}", "", "", "", "", "", "", "", "*"}
	got, err := s.expand(args, "/f", "the-id")
	want := []string{"x", "-n=" + args[0], args[0], "a {0} the-id *"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v\nwant %q", got, err, want)
	}
	for _, bad := range []string{"-o", "--exec=sh", "-", "a\x00b"} {
		args[0] = bad
		raw, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if s.check(raw) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("{file}", "-x")
	f.Add("a\nb", "{0}{1}")
	specs, faults := parseTasks(`[tasks.a]
		argv = ["x", "{0}", "-k={1}", "{0}{1}"]`, noVariables)
	if len(faults) > 0 {
		f.Fatal(faults)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := specs[0].expand([]string{a, b}, "/f", "id")
		if err != nil {
			return
		}
		if want := []string{"x", a, "-k=" + b, a + b}; !slices.Equal(got, want) || strings.HasPrefix(a, "-") {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// newProcess returns a process that runs a shell script.
func newProcess(t *testing.T, script string, limit int, report func(int, string)) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{
		argv: []string{"sh", "-c", script}, path: "/usr/bin:/bin", work: filepath.Join(dir, "work"), artifacts: filepath.Join(dir, "artifacts"),
		env: []string{"MODE=fast"}, output: newOutput(limit, report),
	}
	for _, d := range []string{p.work, p.artifacts} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestProcess(t *testing.T) {
	t.Setenv("SECRET", "x")
	var said []string
	p := newProcess(t, `env | sort; pwd; ls -A; echo progress 40 half; echo progress 400 no; printf 'progress 50'; exit 7`, 1<<20,
		func(percent int, note string) { said = append(said, fmt.Sprint(percent, " ", note)) })
	code, err := p.run(t.Context())
	out := p.output.tail()
	if err != nil || code != 7 {
		t.Fatalf("%d, %v: %s", code, err, out)
	}
	if !slices.Equal(said, []string{"40 half", "50 "}) {
		t.Errorf("progress %q", said)
	}
	want := "ARTIFACTS=" + p.artifacts + "\nMODE=fast\nPATH=/usr/bin:/bin\nPWD=" + p.work + "\n" + p.work + "\nprogress 400 no"
	if out != want {
		t.Errorf("output %q\n  want %q", out, want)
	}
}

func TestProcessThatEndsBadly(t *testing.T) {
	none := func(int, string) {}
	p := newProcess(t, `kill -9 $$`, 1<<20, none)
	if _, err := p.run(t.Context()); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a signal: %v", err)
	}
	p = newProcess(t, `yes; echo never`, 1000, none)
	if _, err := p.run(t.Context()); !errors.Is(err, ErrOutput) {
		t.Errorf("too much output: %v", err)
	}
	p = newProcess(t, ``, 1000, none)
	p.argv = []string{"no-such-program"}
	if _, err := p.run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	// A program is not found in the working folder, even if PATH contains it.
	p.path, p.argv = ".:", []string{"here"}
	if err := os.WriteFile(filepath.Join(p.work, "here"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := p.run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program in the working folder: %v", err)
	}
}

// When a command was cancelled or has ended, its processes have ended too, even those that
// ignore TERM or run in the background. They would otherwise run longer than any test.
func TestAllProcessesEnd(t *testing.T) {
	for name, script := range map[string]string{
		"cancelled":    `trap '' TERM; (trap '' TERM; echo $$ >pids; sleep 36000) & sleep 36000 & echo $! >>pids; sh -c 'trap "" TERM; echo $$ >>pids; sleep 36000' & echo progress 1; wait; wait; sleep 36000`,
		"ended itself": `sleep 36000 & echo $! >pids; echo $$ >>pids; echo progress 1`,
	} {
		t.Run(name, func(t *testing.T) {
			begun := make(chan struct{}, 1)
			p := newProcess(t, script, 1<<20, func(int, string) { begun <- struct{}{} })
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("cancelled")
			ended := make(chan error, 1)
			go func() { _, err := p.run(ctx); ended <- err }() // ends with the command
			<-begun
			if name == "cancelled" {
				cancel(why)
			}
			err := <-ended
			cancel(nil)
			if name == "cancelled" && !errors.Is(err, why) || name != "cancelled" && err != nil {
				t.Errorf("it ended with %v", err)
			}
			text, err := os.ReadFile(filepath.Join(p.work, "pids"))
			if err != nil {
				t.Fatal(err)
			}
			for field := range strings.FieldsSeq(string(text)) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				for deadline := time.Now().Add(time.Minute); alive(pid); <-time.After(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("process %d is still running", pid)
					}
				}
			}
		})
	}
}

// alive reports whether a process exists and is not a zombie, which init reaps.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func FuzzParse(f *testing.F) {
	f.Add("[tasks.a]\nargv = [\"x\", \"{0}\"]\nschedule = \"TZ=UTC\"")
	f.Fuzz(func(t *testing.T, text string) {
		specs, faults := parseTasks(text, noVariables)
		if len(faults) > 0 {
			return
		}
		for _, s := range specs {
			if len(s.Argv) == 0 || s.argCount() > maxArgs || s.Timeout <= 0 {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}
