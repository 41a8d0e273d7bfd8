package tasks_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Cancelling a command ends its whole process group, also processes that ignore TERM.
func TestCancelCommand(t *testing.T) {
	t.Parallel()
	for name, flags := range harness.TaskStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			file := harness.TasksFile(t, `
				[tasks.stubborn]
				env = ["PIDS=`+pids+`"]
				argv = ["sh", "-c", "trap '' TERM; sh -c 'echo $$ >>$PIDS; sleep 300' & echo $! >>$PIDS; echo $$ >>$PIDS; echo progress 1; wait; sleep 300"]`)
			g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "1", "-tasks", file}, flags(t)...)...)
			var task harness.CommandTask
			harness.SendJSON(t, "POST", g.URL+"/tasks", `{"task":"stubborn"}`, &task)
			testutil.Eventually(t, "it runs", func() bool {
				text, _ := os.ReadFile(pids)
				return bytes.Count(text, []byte("\n")) == 3
			})
			text, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if code := harness.SendJSON(t, "DELETE", g.URL+"/tasks/"+task.ID, "", &task); code != http.StatusOK || task.State != "cancelled" {
				t.Fatalf("%d, %+v", code, task)
			}
			for field := range strings.FieldsSeq(string(text)) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				testutil.Eventually(t, "its processes have ended", func() bool {
					stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
					return err != nil || strings.Contains(string(stat), ") Z ")
				})
			}
			t.Logf("ended within %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// Whatever a client sends reaches a program only as the value of an argument. Wrong
// arguments are refused before the task is accepted.
func TestHostileArguments(t *testing.T) {
	t.Parallel()
	file := harness.TasksFile(t, `
		[tasks.print]
		argv = ["printf", "[%s]", "{0}", "-{1}", "{2}"]
		[tasks.cat]
		argv = ["cat", "{file}"]`)
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "1", "-tasks", file)
	for _, args := range [][]string{
		{"a\nb", "{0}", "$(id)"}, {"{1} {file} {id}", "x; rm -rf /", "`id` | sh"}, {"*", "'\"\\", "\u202e %s %n"}, {"", "", ""},
	} {
		want := strings.TrimSpace("[" + args[0] + "][-" + args[1] + "][" + args[2] + "]")
		if task := harness.RunTask(t, g, "print", args...); task.State != "success" || task.Result.Output != want {
			t.Errorf("%q: %+v, want %q", args, task, want)
		}
	}
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for body, want := range map[string]int{
		`{"task":"print","args":["-o","x","y"]}`:                                400,
		`{"task":"print","args":["a\u0000","x","y"]}`:                           400,
		`{"task":"print","args":["a","x"]}`:                                     400,
		`{"task":"print","args":["a","x",7]}`:                                   400,
		`{"task":"print","args":["a","x",["y"]]}`:                               400,
		`{"task":"print","args":{"0":"a"}}`:                                     400,
		`{"task":"print","args":` + deep + `}`:                                  400,
		`{"task":"print\n","args":["a","x","y"]}`:                               404,
		`{"task":"cat","args":["x"]}`:                                           400,
		`{"task":"print","args":["` + strings.Repeat("x", 10<<20) + `","",""]}`: 413,
	} {
		resp, err := http.Post(g.URL+"/tasks", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%.80s: %d %s, want %d", body, resp.StatusCode, text, want)
		}
	}
	for _, outside := range [][]string{{"..", "passwd"}, {"/etc", "passwd"}, {"x", "../../jobs.db"}, {"x", "a\nb"}, {".", "."}, {"", ""}} {
		if task := harness.RunTask(t, g, "cat", outside...); task.State != "failed" || task.Result.Output != "" {
			t.Errorf("%q: %+v", outside, task)
		}
	}
}
