package processes_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// unpack returns the files of a debug bundle by their names in its folder.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	uncompressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for reader := tar.NewReader(uncompressed); ; {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if profile, err := gzip.NewReader(bytes.NewReader(text)); err == nil { // profiles are compressed
			text, _ = io.ReadAll(profile)
		}
		_, name, _ := strings.Cut(head.Name, "/")
		files[name] = string(text)
	}
}

// secretServer starts a server whose configuration and environment contain secrets, and
// returns these.
func secretServer(t *testing.T, dir string) (g *harness.Server, secrets []string) {
	t.Helper()
	secrets = []string{"flag+token/1=", "aws-secret-2", "mail password-3", "db@pass-4", "task-env-5", "task-arg-6", "hook-key-7", strings.Repeat("cookie-key-8", 3)}
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := base64.StdEncoding.EncodeToString([]byte(secrets[7]))
	secrets = append(secrets, strings.TrimRight(key, "="), "db%40pass-4", "task-plain-9", "own-flag-10")
	file("cookies", key+"\n")
	file("tasks.toml", "[tasks.send]\nargv = [\"/bin/echo\", \"--password\", \"task-arg-6\"]\nenv = [\"API_KEY=task-env-5\", \"PLAIN=task-plain-9\"]\n")
	file("conf", "tasks tasks.toml\ncookie-key-file cookies\nupload-hook http://127.0.0.1:9/?key=1&api_key=hook-key-7\n")
	cmd := exec.Command(harness.Binary(), harness.OnFreePorts([]string{"-config", "conf", "-procs", "1", "-workers", "1", "-access-log", "all", "-log-level", "debug", "-token", secrets[0], "-fetch-url", "http://127.0.0.1:9/own-flag-10"})...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_SECRET_ACCESS_KEY="+secrets[1], "MAIL_PASSWORD="+secrets[2], "DATABASE_URL=postgres://app:db%40pass-4@db/x")
	g, err := harness.LaunchAs(cmd)
	return harness.MustStart(t, g, err), secrets
}

// A bundle has everything about every process, and no secret.
func TestDebugBundle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, secrets := secretServer(t, dir)
	if resp, body := harness.Request(t, http.MethodGet, g.URL+"/before-the-kill", ""); resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	before := g.Slots(t)["serve.0"].PID
	requestLine := fmt.Sprintf("slot=serve.0 pid=%d", before)
	testutil.Eventually(t, "the request is logged", func() bool { return strings.Contains(g.Log.String(), "/before-the-kill") })
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "another process serves", func() bool {
		now := g.Slots(t)["serve.0"]
		return now.PID != before && now.State == "live"
	})
	bundle := func(name string, args ...string) (code int, out, errs string) {
		return harness.Outcome(t, dir, append([]string{"debug", "bundle", name, "-admin", g.Admin, "-token", secrets[0]}, args...)...)
	}
	if code, out, errs := harness.Outcome(t, dir, "reload", "-admin", g.Admin, "-token", secrets[0]); code != 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	code, out, errs := bundle("x.tar.gz", "-cpu-profile", "1s")
	if code != 0 || errs != "" || !strings.Contains(out, " 0 missing") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	info, err := os.Stat(filepath.Join(dir, "x.tar.gz"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	archive, err := os.ReadFile(filepath.Join(dir, "x.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, archive)
	for name, want := range map[string]string{
		"contents.txt": "missing: 0\n", "status.json": `"serve.0"`, "metrics.txt": "gale_slot_state{", "check.txt": "configuration is sound",
		"system.txt": "Max open files", "build.txt": "github.com/valyala/fasthttp", "config.json": `"AccessLog": 1`, "log.txt": "msg=ready",
		"profiles/master/goroutines.txt": "prefork.(*Master)", "profiles/serve.0/goroutines.txt": "prefork.(*Child)", "profiles/worker.0/goroutines.txt": "prefork.(*Child)",
		"profiles/store.0/heap.pprof": "inuse_space", "profiles/master/heap.pprof": "inuse_space", "profiles/worker.0/cpu.pprof": "nanoseconds",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s: no %q in\n%.3000s", name, want, files[name])
		}
	}
	for _, want := range []string{"/before-the-kill", requestLine, "reload: executing the new binary", "reload: the new binary has taken over"} {
		if !strings.Contains(files["log.txt"], want) {
			t.Errorf("log.txt lacks %s, from before the kill or around the reload:\n%s", want, files["log.txt"])
		}
	}
	for name, text := range files {
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s contains the secret %s: %s", name, secret, text[max(at-100, 0):min(at+100, len(text))])
			}
		}
	}

	if code, out, errs := bundle("x.tar.gz"); code != 1 || !strings.Contains(errs, "exists") {
		t.Errorf("the file exists: %d %s%s", code, out, errs)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "x.tar.gz")); err != nil || !bytes.Equal(again, archive) {
		t.Error("the file has changed")
	}

	// A process that hangs is noted, and does not hold up the rest.
	pid := g.Slots(t)["worker.0"].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	code, out, errs = bundle("hung.tar.gz", "-cpu-profile", "0", "-timeout", "3s")
	if code != 0 || !strings.Contains(errs, "profiles/worker.0/heap.pprof: no response within 3s") {
		t.Errorf("with a stopped process: %d %s%s", code, out, errs)
	}
	archive, err = os.ReadFile(filepath.Join(dir, "hung.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if contents := unpack(t, archive)["contents.txt"]; !strings.Contains(contents, "profiles/worker.0/goroutines.txt: no response within 3s") {
		t.Errorf("contents:\n%s", contents)
	}
}

// Without a token and with -single, a bundle has the one process once.
func TestDebugBundleOfOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-single")
	code, out, errs := harness.Outcome(t, dir, "debug", "bundle", "-", "-admin", g.Admin, "-cpu-profile", "0")
	if code != 0 || !strings.Contains(errs, " 0 missing") {
		t.Fatalf("%d %s", code, errs)
	}
	files := unpack(t, []byte(out))
	if !strings.Contains(files["log.txt"], "msg=ready") || !strings.Contains(files["profiles/master/goroutines.txt"], "app.(*single)") || files["profiles/serve.0/goroutines.txt"] != "" {
		t.Errorf("%d files, contents:\n%s\nlog:\n%s", len(files), files["contents.txt"], files["log.txt"])
	}
	for name, header := range map[string]string{"a web page": "Origin", "another site": "Sec-Fetch-Site"} {
		if resp, body := harness.Request(t, http.MethodGet, "http://"+g.Admin+"/debug/bundle/config.json", "", header, "cross-site"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %.200s", name, resp.StatusCode, body)
		}
	}
	for _, part := range []string{"nonsense", "profiles/master/cmdline", "profiles/master/trace", "profiles/serve.9/heap"} {
		if resp, body := harness.Request(t, http.MethodGet, "http://"+g.Admin+"/debug/bundle/"+part, ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %.200s", part, resp.StatusCode, body)
		}
	}
}

// A command that cannot succeed leaves no file.
func TestDebugBundleIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-token", "secret-token")
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "a bearer token is needed", []string{"debug", "bundle", "f", "-admin", g.Admin}},
		{1, "no server responds", []string{"debug", "bundle", "f", "-admin", "unix:none"}},
		{1, "is not the admin endpoint", []string{"debug", "bundle", "f", "-admin", strings.TrimPrefix(g.URL, "http://")}},
		{1, "create the archive", []string{"debug", "bundle", "none/f", "-admin", g.Admin, "-token", "secret-token"}},
		{2, "-cpu-profile", []string{"debug", "bundle", "f", "-admin", g.Admin, "-cpu-profile", "1500ms"}},
		{2, "-cpu-profile", []string{"debug", "bundle", "f", "-admin", g.Admin, "-cpu-profile", "2m"}},
		{2, "-timeout", []string{"debug", "bundle", "f", "-timeout", "0"}},
		{2, "-admin", []string{"debug", "bundle", "f", "-admin", ""}},
		{2, "give bundle FILE", []string{"debug", "bundle"}},
		{2, "give bundle FILE", []string{"debug", "dump", "f"}},
		{2, "unexpected argument", []string{"debug", "bundle", "f", "g"}},
		{0, "-cpu-profile", []string{"debug", "-help"}},
	} {
		code, out, errs := harness.Outcome(t, dir, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%q: %d %s%s; want %d %s", c.args, code, out, errs, c.code, c.want)
		}
		if _, err := os.Lstat(filepath.Join(dir, "f")); err == nil {
			t.Fatalf("%q left a file", c.args)
		}
	}
}
