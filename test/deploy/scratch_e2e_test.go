//go:build e2e

package deploy_test

import (
	"bytes"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// nobodyID is a user ID without a name.
const nobodyID = 65532

// emptyRoot returns a folder with the binary as /server, /data, which belongs to
// nobodyID, and the mount points of a container runtime.
func emptyRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"proc", "dev", "data"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(root, "data"), nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	harness.Run(t, "cp", harness.Binary(), filepath.Join(root, "server"))
	harness.Run(t, "touch", filepath.Join(root, "dev/null"))
	harness.Run(t, "chmod", "-R", "a+rX", filepath.Dir(root), root)
	return root
}

// inRoot runs /server as PID 1 of that root, like a container: without another file
// system or process, as an unprivileged user, with /data as the only writable folder. It
// needs root.
func inRoot(root, data string, proc bool, args ...string) *exec.Cmd {
	const script = `set -eu
		mount --make-rprivate /
		mount --bind "$1" "$1"
		[ "$2" = false ] || mount -t proc proc "$1/proc"
		mount --bind /dev/null "$1/dev/null"
		mount --bind "$1/$4" "$1/$4"
		mount -o remount,bind,ro "$1"
		root=$1 user=$3
		shift 4
		exec chroot --userspec="$user:$user" --groups= "$root" /server "$@"`
	cmd := exec.Command("sh", append([]string{"-c", script, "sh", root, fmt.Sprint(proc), fmt.Sprint(nobodyID), data}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
	return cmd
}

// TestE2EStatic checks that the binary needs no interpreter and no library.
func TestE2EStatic(t *testing.T) {
	f, err := elf.Open(harness.Binary())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("libraries: %q, %v", libs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary has an interpreter")
		}
	}
}

// TestE2EEmptyRoot runs a server in a root without other files, through uploads, tasks,
// a time zone, a crash, a reload and its end.
func TestE2EEmptyRoot(t *testing.T) {
	root := emptyRoot(t)
	tasks := "[tasks.own]\nargv = [\"/server\", \"version\"]\nschedule = \"CRON_TZ=Europe/Berlin 0 3 1 1 *\"\n"
	if err := os.WriteFile(filepath.Join(root, "tasks.toml"), []byte(tasks), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := harness.LaunchAs(inRoot(root, "data", true, harness.OnFreePorts([]string{"-data", "data", "-tasks", "/tasks.toml", "-procs", "2"})...))
	g = harness.MustStart(t, g, err)

	response := harness.Upload(t, g, "speech", "demo/inspect/testdata/speech.wav")
	var task harness.CommandTask
	harness.GetJSON(t, g.URL+"/tasks/"+response.Files[0].Task+"?wait=50s", &task)
	if task.State != "success" || len(task.Artifacts) == 0 {
		t.Errorf("%+v", task)
	}
	if task := harness.RunTask(t, g, "own"); task.State != "success" || !strings.HasPrefix(task.Result.Output, "gale ") {
		t.Errorf("%+v", task)
	}

	family := append(children(t, g.Cmd.Process.Pid), g.Cmd.Process.Pid)
	if len(family) < 4 {
		t.Fatalf("%d processes", len(family))
	}
	for _, pid := range family {
		if uid := statusLine(t, pid, "Uid"); uid != strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d ", nobodyID), 4)) {
			t.Errorf("process %d runs as %s", pid, uid)
		}
		if caps := statusLine(t, pid, "CapEff"); strings.Trim(caps, "0") != "" {
			t.Errorf("process %d has capabilities %s", pid, caps)
		}
	}

	if err := syscall.Kill(family[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the killed child is replaced", func() bool {
		restarts, live := 0, 0
		for _, s := range g.Slots(t) {
			restarts += s.Restarts
			if s.State == "live" {
				live++
			}
		}
		return restarts == 1 && live == len(family)-1
	})
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the reload is done", func() bool { return strings.Contains(g.Log.String(), "msg=reloaded") })

	// The health check of an image must work without /proc, user and shell.
	if out := harness.Run(t, "chroot", root, "/server", "status", "-ready", "-admin", g.Admin); out != "ready\n" {
		t.Errorf("status -ready: %q", out)
	}
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestE2ERootWithoutProc checks the error without /proc, before anything is bound:
// children are started from /proc/self/exe.
func TestE2ERootWithoutProc(t *testing.T) {
	cmd := inRoot(emptyRoot(t), "data", false, harness.OnFreePorts([]string{"-data", "/data"})...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	late.Stop()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), "mount -t proc proc /proc") || strings.Contains(out.String(), "listening") {
		t.Errorf("%v: %s", err, &out)
	}
}

// TestE2ERootsOfTrust checks that https and rediss:// use the certificates of
// authorities in /etc, or those in SSL_CERT_FILE. The binary needs no other file there.
func TestE2ERootsOfTrust(t *testing.T) {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("secret"))
	}))
	defer site.Close()
	root := emptyRoot(t)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(root, "ca.pem"), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string]int{"": http.StatusBadGateway, "SSL_CERT_FILE=/ca.pem": http.StatusOK} {
		cmd := inRoot(root, "data", true, harness.OnFreePorts([]string{"-data", "/data", "-procs", "1", "-workers", "0", "-fetch-url", site.URL + "/"})...)
		cmd.Env = append(os.Environ(), variable)
		g, err := harness.LaunchAs(cmd)
		g = harness.MustStart(t, g, err)
		if code, body, err := harness.Get(g.URL + "/fetch"); err != nil || code != want {
			t.Errorf("%q: %d %s, %v", variable, code, body, err)
		}
		if want == http.StatusBadGateway {
			testutil.Eventually(t, "the reason is in the log", func() bool {
				return strings.Contains(g.Log.String(), "certificate signed by unknown authority")
			})
		}
		g.Kill()
	}
}

// statusLine returns a line of /proc/PID/status with single spaces between its words.
func statusLine(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if key, value, _ := strings.Cut(string(line), ":"); key == name {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("process %d has no %s", pid, name)
	return ""
}

// children returns the PIDs of the children of a process.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, child)
	}
	return pids
}
