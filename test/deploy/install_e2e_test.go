//go:build e2e

package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// unitFolder is the folder to which `make install` installs units.
const unitFolder = "usr/local/lib/systemd/system"

// install runs make install with a new DESTDIR and returns it.
func install(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	harness.Run(t, "make", "-s", "install", "DESTDIR="+root)
	return root
}

// TestE2EUnitsAreSound checks the installed units with systemd-analyze, and their
// exposure.
func TestE2EUnitsAreSound(t *testing.T) {
	root := install(t)
	dir := t.TempDir()
	var units []string
	for _, name := range []string{"gale.service", "gale-worker.service", "gale.socket"} {
		text, err := os.ReadFile(filepath.Join(root, unitFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		there := strings.ReplaceAll(string(text), "/usr/local/bin/server", filepath.Join(root, "usr/local/bin/server"))
		unit := filepath.Join(dir, name)
		if err := os.WriteFile(unit, []byte(there), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, unit := range units[:2] {
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit).CombinedOutput()
		found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || found == nil {
			t.Fatalf("systemd-analyze security: %v\n%s", err, out)
		}
		exposure, err := strconv.ParseFloat(string(found[1]), 64)
		t.Logf("%s: exposure %v", filepath.Base(unit), exposure)
		if err != nil || exposure > 2.0 {
			t.Errorf("%s is exposed by %v, %v", unit, exposure, err)
		}
	}
}

// filter returns the system calls that SystemCallFilter= of a unit allows, by systemd's
// sets.
func filter(t *testing.T, unit string) map[string]bool {
	t.Helper()
	sets := map[string][]string{}
	name := ""
	for line := range strings.Lines(harness.Run(t, "systemd-analyze", "syscall-filter", "--no-pager")) {
		switch word := strings.TrimSpace(line); {
		case word == "" || strings.HasPrefix(word, "#"):
		case strings.HasPrefix(line, "@"):
			name = word
		case strings.HasPrefix(line, " "):
			sets[name] = append(sets[name], word)
		}
	}
	allowed := map[string]bool{}
	var apply func(word string, allow bool)
	apply = func(word string, allow bool) {
		for _, member := range sets[word] {
			apply(member, allow)
		}
		if !strings.HasPrefix(word, "@") {
			allowed[word] = allow
		}
	}
	apply("@default", true)
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter="); ok {
			bare, deny := strings.CutPrefix(words, "~")
			for word := range strings.FieldsSeq(bare) {
				apply(word, !deny)
			}
		}
	}
	return allowed
}

// TestE2EUnitAllowsWhatTheServerCalls traces a server through uploads, tasks, a command
// task, a reload and a crash, and compares its system calls with the unit's filter. The
// server must not depend on calls that the filter refuses.
func TestE2EUnitAllowsWhatTheServerCalls(t *testing.T) {
	allowed := filter(t, "deploy/systemd/gale.service")
	if len(allowed) < 200 || !allowed["read"] || allowed["reboot"] {
		t.Fatalf("the filter has only %d calls", len(allowed))
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	tasks, err := filepath.Abs("deploy/tasks.toml")
	if err != nil {
		t.Fatal(err)
	}
	// -D keeps the server a child of the test: the tracer is its grandchild.
	cmd := exec.Command("strace", "-D", "-f", "-qq", "-o", trace, harness.Binary(), "serve", "-port", "0", "-admin", "127.0.0.1:0",
		"-data", filepath.Join(dir, "data"), "-tasks", tasks, "-procs", "2")
	g, err := harness.LaunchAs(cmd)
	if err != nil {
		t.Fatal(err)
	}
	harness.MustStart(t, g, nil)
	response := harness.Upload(t, g, "speech", "demo/inspect/testdata/speech.wav")
	if task := harness.AwaitTask(t, g, response.Files[0].Task); task.State != "success" {
		t.Errorf("%+v", task)
	}
	g.Metrics(t)
	victim := g.Slots(t)["serve.0"].PID
	_ = syscall.Kill(victim, syscall.SIGKILL)
	testutil.Eventually(t, "serve.0 has a new process", func() bool { s := g.Slots(t)["serve.0"]; return s.PID != victim && s.State == "live" })
	_ = g.Cmd.Process.Signal(syscall.SIGHUP)
	testutil.Eventually(t, "the reload is done", func() bool { return strings.Contains(g.Log.String(), "msg=reloaded") })
	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^\d+ +([a-z_0-9]+)\(`).FindAllSubmatch(text, -1) {
		called[string(found[1])] = true
	}
	if len(called) < 40 || !called["execve"] || !called["memfd_create"] {
		t.Fatalf("only %d calls were traced", len(called))
	}
	// Go raises the soft limit of open files, and ignores an error. SQLite changes the
	// owner of its files only as root, and the unit has another user.
	spared := []string{"setrlimit", "fchown"}
	for name := range called {
		if !allowed[name] && !slices.Contains(spared, name) {
			t.Errorf("the unit refuses %s", name)
		}
	}
	t.Logf("%d system calls", len(called))
}

// launchLine returns the command line of a unit.
func launchLine(t *testing.T, unit string) []string {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindSubmatch(text)
	if line == nil {
		t.Fatalf("%s starts nothing", unit)
	}
	return strings.Fields(string(line[1]))
}

// cage is a script that changes to a root with the installed files and the system's
// programs, read-only except for the state, and to an unprivileged user.
const cage = `set -e
root=$1 installed=$2 state=$3; shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
mkdir -p "$root/usr" "$root/etc" "$root/proc" "$root/dev" "$root/var/lib/gale"
for dir in bin sbin lib lib64; do [ ! -e /$dir ] || ln -s "usr/$dir" "$root/$dir"; done
mount --bind /usr "$root/usr"
mount --bind "$installed/usr/local" "$root/usr/local"
mount --bind "$installed/etc" "$root/etc"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$state" "$root/var/lib/gale"
for dir in usr usr/local etc; do mount -o remount,bind,ro "$root/$dir"; done
mount -o remount,ro "$root"
exec chroot --userspec=65534:65534 "$root" "$@"
`

// TestE2EInstalledTree starts the installed files by the command lines of the units, as
// an unprivileged user who can write only to the state.
func TestE2EInstalledTree(t *testing.T) {
	root := install(t)
	for _, conf := range []string{"server.conf", "worker.conf"} {
		path := filepath.Join(root, "etc/gale", conf)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		free := strings.Replace(string(text), "port 8888", "port 0", 1) + "admin 127.0.0.1:0\n"
		if err := os.WriteFile(path, []byte(free), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The folders above, like all of the test's, are for root only.
	state := t.TempDir()
	if err := os.Chown(state, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	caged := func(line []string) *harness.Server {
		mounted := t.TempDir()
		cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", cage, "cage", mounted, root, state}, line...)...)
		g, err := harness.LaunchAs(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return harness.MustStart(t, g, nil)
	}
	g := caged(launchLine(t, filepath.Join(root, unitFolder, "gale.service")))
	worker := caged(launchLine(t, filepath.Join(root, unitFolder, "gale-worker.service")))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Cmd.Process.Pid))
	if err != nil || !strings.Contains(string(status), "Uid:\t65534\t65534\t65534\t65534") || !strings.Contains(string(status), "CapEff:\t0000000000000000") {
		t.Errorf("the user is not unprivileged: %v\n%s", err, status)
	}
	response := harness.Upload(t, g, "speech", "demo/inspect/testdata/speech.wav")
	if task := harness.AwaitTask(t, g, response.Files[0].Task); task.State != "success" {
		t.Errorf("%+v", task)
	}
	if stored, err := os.Stat(filepath.Join(state, "uploads/speech/speech.wav")); err != nil || stored.Size() != 257656 {
		t.Errorf("%v, %v", stored, err)
	}
	inside := fmt.Sprintf("/proc/%d/root", g.Cmd.Process.Pid)
	for _, path := range []string{"/x", "/etc/gale/x", "/usr/local/bin/x"} {
		if err := os.WriteFile(inside+path, nil, 0o600); err == nil {
			t.Errorf("%s can be written", path)
		}
	}
	for _, s := range []*harness.Server{g, worker} {
		_ = s.Cmd.Process.Signal(syscall.SIGTERM)
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
	}

	// A changed configuration is kept by install and by uninstall.
	harness.Run(t, "make", "-s", "install", "DESTDIR="+root)
	text, err := os.ReadFile(filepath.Join(root, "etc/gale/server.conf"))
	if err != nil || !strings.Contains(string(text), "port 0") {
		t.Errorf("the second install: %v\n%s", err, text)
	}
	harness.Run(t, "make", "-s", "uninstall", "DESTDIR="+root)
	var left []string
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, strings.TrimPrefix(path, root))
		}
		return err
	})
	if !slices.Equal(left, []string{"/etc/gale/server.conf", "/etc/gale/worker.conf"}) {
		t.Errorf("uninstall leaves %v", left)
	}
}

// TestE2EInstallElsewhere installs with another PREFIX, which the units contain.
func TestE2EInstallElsewhere(t *testing.T) {
	root := t.TempDir()
	harness.Run(t, "make", "-s", "install", "DESTDIR="+root, "PREFIX=/opt/gale", "SYSCONF=/opt/gale/etc")
	line := launchLine(t, filepath.Join(root, "opt/gale/lib/systemd/system/gale.service"))
	if !slices.Equal(line, []string{"/opt/gale/bin/server", "-config", "/opt/gale/etc/server.conf", "-data", "/var/lib/gale"}) {
		t.Errorf("starts %q", line)
	}
	for _, path := range []string{line[0], line[2]} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		}
	}
}
