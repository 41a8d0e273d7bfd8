package processes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// reload, stop and scale wait for the outcome, and their exit status says whether the change
// succeeded.
func TestControlCommands(t *testing.T) {
	t.Parallel()
	for _, admin := range []string{"127.0.0.1:0", "unix:admin"} {
		t.Run(admin[:4], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			conf := filepath.Join(dir, "conf")
			write := func(text string) {
				if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("procs 1\nworkers 1\ntoken secret\n")
			g := harness.Start(t, dir, "-config", "conf", "-admin", admin)
			if strings.HasPrefix(admin, "unix:") {
				g.Admin = admin
			}
			command := func(wantCode int, want string, args ...string) {
				t.Helper()
				code, out, errs := harness.Outcome(t, dir, append(args, "-admin", g.Admin, "-token", "secret")...)
				if code != wantCode || !strings.Contains(out+errs, want) {
					t.Errorf("%q: %d %s%s; want %d %s", args, code, out, errs, wantCode, want)
				}
			}
			slots := func() (names string) {
				var status struct{ Slots []harness.SlotStatus }
				if err := json.Unmarshal([]byte(harness.Command(t, dir, "status", "-json", "-admin", g.Admin)), &status); err != nil {
					t.Fatal(err)
				}
				for _, s := range status.Slots {
					names += s.Slot + "=" + s.State + " "
				}
				return names
			}
			command(0, "scaled: serve=2 worker=2\n", "scale", "serve=2", "worker=2")
			if got, want := slots(), "serve.0=live serve.1=live worker.0=live worker.1=live store.0=live "; got != want {
				t.Errorf("slots: %s, want %s", got, want)
			}
			command(0, "scaled: serve=1 worker=1\n", "scale", "serve=1", "worker=1")
			if got, want := slots(), "serve.0=live worker.0=live store.0=live "; got != want {
				t.Errorf("slots: %s, want %s", got, want)
			}
			command(1, `there are no slots "web"`, "scale", "web=2", "serve=2")
			command(1, `there are no slots "store"`, "scale", "store=2")
			command(2, "at least 1", "scale", "serve=0")
			command(2, "missing arguments", "scale")
			if got, want := slots(), "serve.0=live worker.0=live store.0=live "; got != want {
				t.Errorf("slots after refused commands: %s, want %s", got, want)
			}

			write("procs 2\nworkers 1\ntoken secret\n")
			command(0, fmt.Sprintf("pid %d\n", g.Cmd.Process.Pid), "reload")
			if got, want := slots(), "serve.0=live serve.1=live worker.0=live store.0=live "; got != want {
				t.Errorf("slots after the reload: %s, want %s", got, want)
			}
			write("procs 2\nworkers 1\ntoken secret\nnonsense 1\n")
			command(1, "nonsense", "reload")
			write("procs 2\nworkers 1\ntoken secret\n")
			command(0, "reloaded: ", "reload")

			command(0, fmt.Sprintf("stopped: pid %d\n", g.Cmd.Process.Pid), "stop")
			if err := g.Wait(); err != nil {
				t.Errorf("the master: %v", err)
			}
			command(1, "no server responds", "stop")
		})
	}
}

// On a TCP address, only those who may write can control the server: who has the token, or
// without one, programs on this machine, but no web pages.
func TestControlIsGuarded(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "secret"} {
		flags := []string{"-procs", "1", "-workers", "0"}
		if token != "" {
			flags = append(flags, "-token", token)
		}
		g := harness.Start(t, t.TempDir(), flags...)
		post := func(want int, header ...string) {
			t.Helper()
			resp, body := harness.Request(t, http.MethodPost, "http://"+g.Admin+"/scale", `{"serve":0}`, header...)
			if resp.StatusCode != want {
				t.Errorf("token %q, %q: %d %s, want %d", token, header, resp.StatusCode, body, want)
			}
		}
		if token != "" {
			post(401)
			post(401, "Authorization", "Bearer wrong")
			post(400, "Authorization", "Bearer secret")
			continue
		}
		post(400)
		post(403, "Origin", "http://evil.example")
		post(403, "Sec-Fetch-Site", "cross-site")
	}
}
