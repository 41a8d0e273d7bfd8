package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
)

// Run runs a program and returns its output. A failure ends the test.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Command runs the program under test in a folder and returns its output. A
// failure ends the test.
func Command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Binary(), args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("server %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Outcome runs the program under test in a folder and returns its exit status and
// its output.
func Outcome(t *testing.T, dir string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(Binary(), args...)
	var stderr strings.Builder
	cmd.Dir, cmd.Stderr = dir, &stderr
	text, err := cmd.Output()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), string(text), stderr.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(text), stderr.String()
}

// LastLine returns the last line of the output of a program: ffprobe prints its
// warnings before the value.
func LastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// FreePort returns a TCP port of 127.0.0.1 that nothing listens on.
func FreePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// StartNginx starts an nginx with these location blocks and returns its URL. It
// ends with the test.
func StartNginx(t *testing.T, locations string) (url string) {
	t.Helper()
	return startNginx(t, "", locations)
}

// StartBalancer starts an nginx that sends requests to the servers with these addresses in turn,
// without regard to the client. It does not buffer bodies. It returns its URL.
func StartBalancer(t *testing.T, addresses ...string) (url string) {
	t.Helper()
	var servers strings.Builder
	for _, address := range addresses {
		servers.WriteString("server " + address + " max_fails=0; ")
	}
	return startNginx(t, "upstream servers { "+servers.String()+"}", `
		client_max_body_size 0;
		location / {
			proxy_pass http://servers;
			proxy_http_version 1.1;
			proxy_request_buffering off;
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $remote_addr;
		}
`)
}

func startNginx(t *testing.T, upstream, locations string) (url string) {
	t.Helper()
	dir, own := t.TempDir(), FreePort(t)
	config := fmt.Sprintf(`daemon off; user root; worker_processes 1; error_log stderr crit; pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	map $http_upgrade $gale_connection { default upgrade; "" ""; }
	%[4]s
	server {
		listen 127.0.0.1:%[2]s;
%[3]s
	}
}
`, dir, own, locations, upstream)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	testutil.Eventually(t, "nginx accepts connections", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+own)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return "http://127.0.0.1:" + own
}

// InstallNPM installs npm packages into a temporary folder and returns its path.
func InstallNPM(t *testing.T, packages ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	install := exec.Command("npm", append([]string{"install", "--no-audit", "--no-fund", "--no-package-lock"}, packages...)...)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	return dir
}

// PeakMemory returns the peak resident memory of a process in bytes: VmHWM in
// proc_pid_status(5).
func PeakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
