package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Worker programs are checked when the server starts, and not by the command tasks, which may
// run on a machine without them.
func TestWorkerPrograms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tasks.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	environ := []string{"PATH=/usr/bin:/bin", "LANG=C"}
	write("[workers.a]\nargv = [\"sh\"]\ngrace = 5\nenv = [\"LANG\"]")
	for _, command := range []Command{Serve, Worker} {
		c, err := Load(command, program, []string{"-tasks", file, "-grace", "5s"}, environ)
		if err != nil || len(c.Programs) != 1 || c.Programs[0].Env[0] != "LANG=C" || len(c.Warnings()) != 0 {
			t.Errorf("%s: %+v, %v", command, c.Programs, err)
		}
	}
	c, err := Load(Serve, program, []string{"-tasks", file, "-workers", "0"}, environ)
	if err != nil || len(c.Warnings()) != 1 || !strings.Contains(c.Warnings()[0], "do not run, because -workers is 0") {
		t.Errorf("without workers: %q, %v", c.Warnings(), err)
	}

	write("[workers.a]\nargv = [\"no-such-program\"]\ngrace = 6\n[workers.b]\nargv = [\"" + file + "\"]\n[workers.c]\nargv = [\"sh\"]\ndir = \"/none\"")
	_, err = Load(Serve, program, []string{"-tasks", file, "-grace", "5s"}, environ)
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{
		"4 faults", "workers.a: argv: find no-such-program: file does not exist in PATH", "workers.a: grace: 6s is longer than -grace, 5s",
		"workers.b: argv: " + file + " is not executable", "workers.c: dir: stat /none: no such file",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\n  lacks %s", err, want)
		}
	}
	if _, err := LoadTasks(program, []string{"-tasks", file}, environ, true); err != nil {
		t.Errorf("command tasks: %v", err)
	}
}
