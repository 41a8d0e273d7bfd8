//go:build e2e

package tus_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// TestE2ETusJSClient uploads 200 MiB with tus-js-client, in one and in four parallel
// uploads, directly and through nginx. Meanwhile the child that serves it is killed
// five times and the server is restarted once.
func TestE2ETusJSClient(t *testing.T) {
	client := t.TempDir()
	script, err := os.ReadFile("test/tus/testdata/tus.mjs")
	if err != nil || os.WriteFile(filepath.Join(client, "tus.mjs"), script, 0o600) != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "tus-js-client@4.3.1")
	install.Dir = client
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	file := filepath.Join(client, "big.bin")
	if err := os.WriteFile(file, harness.UploadContent(7, 200<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name     string
		parallel int
		proxied  bool
	}{{"one", 1, false}, {"parallel", 4, false}, {"one through nginx", 1, true}, {"parallel through nginx", 4, true}} {
		t.Run(row.name, func(t *testing.T) {
			dir, port := t.TempDir(), harness.FreePort(t)
			args := []string{"-port", port, "-procs", "3", "-workers", "0", "-on-upload", "", "-grace", "1s"}
			g, err := harness.Launch(dir, args...)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { g.Kill() }()
			url := g.URL
			if row.proxied {
				url = startNginx(t, port)
			}
			const rate = 25 << 20 // bytes a second: the upload takes eight seconds
			cmd := exec.Command("node", filepath.Join(client, "tus.mjs"), url, file, "js", strconv.Itoa(row.parallel), strconv.Itoa(rate))
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil || cmd.Start() != nil {
				t.Fatal("node has not started")
			}
			kills, restarted, last := 0, false, ""
			for lines := bufio.NewScanner(out); lines.Scan(); {
				last = lines.Text()
				var sent, total int64
				if n, _ := fmt.Sscanf(last, "progress %d %d", &sent, &total); n != 2 || total == 0 {
					continue
				}
				switch done := int(sent * 100 / total); {
				case kills < 5 && done > 12+15*kills:
					if kills += killUploading(t, g, dir); kills == 3 && !restarted {
						restarted = true
						_ = g.Cmd.Process.Signal(syscall.SIGTERM)
						if err := g.Wait(); err != nil {
							t.Error(err)
						}
						if g, err = harness.Launch(dir, args...); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if err := cmd.Wait(); err != nil || !strings.HasPrefix(last, "done") {
				t.Fatalf("%v, %q\n%s", err, last, g.Log)
			}
			t.Logf("%d kills, restarted %v: %s", kills, restarted, last)
			if kills != 5 || !restarted {
				t.Error("too few kills for a test")
			}
			if harness.FileSHA256(t, filepath.Join(dir, "data/uploads/js/big.bin")) != harness.FileSHA256(t, file) {
				t.Error("the stored file has other content")
			}
		})
	}
}

// killUploading kills a child that has data of an upload open, if there is one.
func killUploading(t *testing.T, g *harness.Server, dir string) int {
	t.Helper()
	for slot, s := range g.Slots(t) {
		if !strings.HasPrefix(slot, "serve.") {
			continue
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.PID))
		for _, fd := range fds {
			if target, _ := os.Readlink(fd); strings.HasPrefix(target, filepath.Join(dir, "data/uploads/.resumable/open")+"/") {
				if syscall.Kill(s.PID, syscall.SIGKILL) == nil {
					return 1
				}
			}
		}
	}
	return 0
}

// startNginx starts nginx in front of a port and returns its URL.
func startNginx(t *testing.T, port string) (url string) {
	t.Helper()
	return harness.StartNginx(t, fmt.Sprintf(`
		client_max_body_size 0;
		location / {
			proxy_pass http://127.0.0.1:%s;
			proxy_http_version 1.1;
			proxy_request_buffering off;
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $remote_addr;
		}
`, port))
}
