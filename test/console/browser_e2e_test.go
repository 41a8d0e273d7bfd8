//go:build e2e

package console_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/test/harness"
)

// TestE2EConsole uses the console in Debian's Chromium, with a server for each story.
// Screenshots are written to $CONSOLE_SHOTS, or to a new temporary folder.
func TestE2EConsole(t *testing.T) {
	shots := consoleShots(t)
	modules := harness.InstallNPM(t, harness.ConsoleClients...)
	const token = "drawn-for-this-test"
	speech, err := filepath.Abs("demo/inspect/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(t.TempDir(), "release")
	for _, s := range []story{
		{name: "drop"},
		{name: "faults", flags: []string{"-tasks", waiting(t, release)}, args: []string{release}},
		{name: "restart"},
		{name: "pages"},
		{name: "shell", flags: []string{"-tasks", nightly(t)}},
		{name: "tasks", prepare: manyTasks, flags: []string{"-trace-link", "https://viewer.example/trace/{id}"}, args: []string{fmt.Sprint(groups * jobs.MaxMembers)}},
		{name: "hostile"},
		{name: "token", flags: []string{"-token", token}, args: []string{token, speech}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, modules, shots)
		})
	}
	t.Logf("screenshots are in %s", shots)
}

// TestE2EConsoleImages creates the pictures of the documentation; see make console-images.
func TestE2EConsoleImages(t *testing.T) {
	if os.Getenv("CONSOLE_SHOTS") == "" {
		t.Skip("CONSOLE_SHOTS does not name a folder for the pictures of the documentation")
	}
	story{name: "images", flags: []string{"-tasks", nightly(t)}}.run(t, harness.InstallNPM(t, harness.ConsoleClients...), consoleShots(t))
}

// nightly returns the path of a tasks file with a schedule.
func nightly(t *testing.T) (path string) {
	t.Helper()
	return tasksFile(t, "[tasks.nightly]\nargv = [\"/bin/echo\", \"report\"]\nschedule = \"30 2 * * *\"\n")
}

// waiting returns the path of a tasks file with the task wait, which ends when the file release
// exists.
func waiting(t *testing.T, release string) (path string) {
	t.Helper()
	return tasksFile(t, fmt.Sprintf("[tasks.wait]\nargv = [\"/bin/sh\", \"-c\", 'until [ -e \"$0\" ]; do sleep 0.2; done', %q]\n", release))
}

func tasksFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tasks.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// groups is the number of groups that manyTasks enqueues.
const groups = 100

// manyTasks enqueues groups of queued tasks in the task store of a server that has not started.
// One of the tasks has the word Zanzibar in its arguments.
func manyTasks(t *testing.T, data string) {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(data, "jobs.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // every task is on the disk
	for n := range groups {
		g := jobs.NewGroup{ID: fmt.Sprint("letters-", n)}
		for i := range jobs.MaxMembers {
			to := "Zurich"
			if n == 3 && i == 7 {
				to = "Zanzibar"
			}
			k := n*jobs.MaxMembers + i
			g.Members = append(g.Members, jobs.NewTask{
				ID: fmt.Sprint("letter-", k), Name: "mail", Queue: "hay", Args: fmt.Appendf(nil, `["letter %d to %s"]`, k, to),
			})
		}
		if _, err := s.EnqueueGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
}

// story is a script in testdata.
type story struct {
	name    string
	prepare func(t *testing.T, data string) // fills the folder -data before the server starts
	flags   []string                        // further flags of the server
	args    []string                        // further arguments of the script
}

// run starts a server and runs the script.
func (s story) run(t *testing.T, modules, shots string) {
	t.Helper()
	// The console connects to the address in -admin, so the port cannot be chosen by the
	// server.
	dir := t.TempDir()
	if s.prepare != nil {
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		s.prepare(t, data)
	}
	g := harness.Start(t, dir, append([]string{"-procs", "2", "-admin", "127.0.0.1:" + harness.FreePort(t)}, s.flags...)...)
	out := t.TempDir()
	script, err := filepath.Abs(filepath.Join("test/console/testdata", s.name+".mjs"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{script, g.URL, g.Admin, fmt.Sprint(g.Cmd.Process.Pid), out}, s.args...)...)
	cmd.Dir = modules
	text, err := cmd.CombinedOutput()
	keepShots(t, out, shots)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Logf("%s", bytes.TrimSpace(text))
}

// consoleShots returns the folder for screenshots.
func consoleShots(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CONSOLE_SHOTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "gale-console")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// keepShots moves the screenshots of a story to the folder of all, and checks that
// each is a picture.
func keepShots(t *testing.T, from, to string) {
	t.Helper()
	pictures, err := filepath.Glob(filepath.Join(from, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pictures {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
