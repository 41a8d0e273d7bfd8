package tasks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
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

// An uploaded .wav becomes a .flac, by the file that docs/howto/write-a-command-task.md shows.
func TestUploadToFLAC(t *testing.T) {
	t.Parallel()
	for name, flags := range harness.TaskStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := filepath.Abs("deploy/tasks.toml")
			if err != nil {
				t.Fatal(err)
			}
			g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "1", "-tasks", file, "-on-upload", ""}, flags(t)...)...)
			sound, err := os.ReadFile("demo/inspect/testdata/speech.wav")
			if err != nil {
				t.Fatal(err)
			}
			var form bytes.Buffer
			w := multipart.NewWriter(&form)
			part, err := w.CreateFormFile("a folder", "söund $(x).WAV")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = part.Write(sound)
			_ = w.Close()
			resp, err := http.Post(g.URL+"/upload", w.FormDataContentType(), &form)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var answer struct {
				Files []struct{ Task, Reason string }
			}
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Files) != 1 || answer.Files[0].Task == "" {
				t.Fatalf("%+v, %v", answer, err)
			}
			var task harness.CommandTask
			harness.GetJSON(t, g.URL+"/tasks/"+answer.Files[0].Task+"?wait=30s", &task)
			if task.State != "success" || task.Progress != 100 || task.Note != "testing" || len(task.Artifacts) != 1 || task.Artifacts[0] != "sound.flac" {
				t.Fatalf("%+v\n%s", task, g.Log)
			}
			code, flac, err := harness.Get(g.URL + "/tasks/" + task.ID + "/artifacts/sound.flac")
			if err != nil || code != http.StatusOK || !strings.HasPrefix(flac, "fLaC") || len(flac) > len(sound) {
				t.Errorf("%d, %d bytes of %d, %v", code, len(flac), len(sound), err)
			}
			for field, status := range map[string]int{"bytes=0-3": 206, "bytes=4-99999999999999999999": 206, "bytes=99999999999999999999-": 416} {
				req, err := http.NewRequest(http.MethodGet, g.URL+"/tasks/"+task.ID+"/artifacts/sound.flac", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Range", field)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				part := harness.ReadAll(t, resp)
				want := map[string]string{"bytes=0-3": flac[:4], "bytes=4-99999999999999999999": flac[4:], "bytes=99999999999999999999-": part}[field]
				if resp.StatusCode != status || part != want {
					t.Errorf("%s: %d, %v, %d bytes", field, resp.StatusCode, resp.Header, len(part))
				}
			}
		})
	}
}

// Progress, exit codes that retry, output, artifacts: what a command says.
func TestCommands(t *testing.T) {
	harness.OnStores(t, commandsDo)
}

func commandsDo(t *testing.T, where []string) {
	t.Helper()
	file := harness.TasksFile(t, `
		[tasks.talk]
		argv = ["sh", "-c", "echo progress 40 of $1; echo hello; echo x >$ARTIFACTS/a.txt; cp -r $ARTIFACTS/a.txt .", "sh", "{0}"]
		[tasks.again]
		argv = ["sh", "-c", "echo no; exit 75"]
		retry_codes = [75]
		[tasks.fails]
		argv = ["sh", "-c", "echo why; exit 3"]
		retry_codes = [75]
		[tasks.slow]
		argv = ["sleep", "60"]
		timeout = "200ms"
		[tasks.escape]
		argv = ["ln", "-s", "/etc/passwd", "../artifacts/passwd"]`)
	g := harness.Start(t, t.TempDir(), append([]string{"-procs", "1", "-workers", "1", "-tasks", file}, where...)...)
	if task := harness.RunTask(t, g, "talk", "that"); task.State != "success" || task.Note != "of that" || task.Result.Output != "hello" || len(task.Artifacts) != 1 {
		t.Errorf("%+v", task)
	}
	if task := harness.RunTask(t, g, "fails"); task.State != "failed" || task.Error != "exit status 3: why" {
		t.Errorf("%+v", task)
	}
	if task := harness.RunTask(t, g, "slow"); task.State != "failed" || !strings.Contains(task.Error, "timed out after 200ms") {
		t.Errorf("%+v", task)
	}
	if task := harness.RunTask(t, g, "escape"); task.State != "failed" || len(task.Artifacts) != 0 || !strings.Contains(task.Error, "is no file") {
		t.Errorf("%+v", task)
	}
	var again harness.CommandTask
	harness.Send(t, "POST", g.URL+"/tasks", `{"task":"again","max_retries":1}`, &again)
	harness.GetJSON(t, g.URL+"/tasks/"+again.ID+"?wait=30s", &again)
	if again.State != "failed" || len(again.Failures) != 2 || again.Failures[0].Error != "exit status 75: no" {
		t.Errorf("%+v", again)
	}
}

// Cancelling a command leaves nothing of its process group, within two seconds.
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
			harness.Send(t, "POST", g.URL+"/tasks", `{"task":"stubborn"}`, &task)
			testutil.Eventually(t, "it runs", func() bool {
				text, _ := os.ReadFile(pids)
				return bytes.Count(text, []byte("\n")) == 3
			})
			text, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if code := harness.Send(t, "DELETE", g.URL+"/tasks/"+task.ID, "", &task); code != http.StatusOK || task.State != "cancelled" {
				t.Fatalf("%d, %+v", code, task)
			}
			for field := range strings.FieldsSeq(string(text)) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				testutil.Eventually(t, "nothing of it remains", func() bool {
					stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
					return err != nil || strings.Contains(string(stat), ") Z ")
				})
			}
			t.Logf("gone within %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// Nothing that a client sends reaches a program as more than a value, and what
// is refused is refused before it is accepted.
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
