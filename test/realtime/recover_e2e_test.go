//go:build e2e

package realtime_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// clientState is the state that the clients in testdata/recover.html and fetch.mjs
// report.
type clientState struct {
	Source, Socket     []event
	Errors             int  // streams of the EventSource that ended
	Closed             bool // whether the EventSource has given up
	Sockets            int  // WebSockets that were closed
	Codes              []int
	Get, Post, Refused int // responses: good ones, and 503 with Retry-After
	Failed             []string
}

// reporter receives the state of a client and keeps the last one.
type reporter struct {
	mu  sync.Mutex
	now clientState
}

func (r *reporter) take(t *testing.T, text []byte) {
	var now clientState
	if err := json.Unmarshal(text, &now); err != nil {
		t.Errorf("report: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
}

func (r *reporter) state() clientState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// startBrowser opens a page of the server in Chromium.
func startBrowser(t *testing.T, s *site) *reporter {
	t.Helper()
	r := &reporter{}
	reports := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		if text, err := io.ReadAll(req.Body); err == nil {
			r.take(t, text)
		}
	}))
	t.Cleanup(reports.Close)
	browser := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), s.URL+"/static/recover.html?report="+url.QueryEscape(reports.URL))
	browser.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-browser.Process.Pid, syscall.SIGKILL) // its process group
		_ = browser.Wait()
	})
	return r
}

// startNode runs fetch.mjs.
func startNode(t *testing.T, s *site) *reporter {
	t.Helper()
	r := &reporter{}
	cmd := exec.Command("node", "test/realtime/testdata/fetch.mjs", s.URL)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		t.Fatal("node has not started")
	}
	var reading sync.WaitGroup
	reading.Go(func() { // ends with the process
		lines := bufio.NewScanner(out)
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			r.take(t, lines.Bytes())
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
	})
	return r
}

// tusUpload is an upload by tus-js-client during the faults.
type tusUpload struct {
	cmd  *exec.Cmd
	file string
	done chan string // the last line
}

// startTus uploads a file with tus-js-client, which is installed in modules, slowly
// enough to last through every fault.
func startTus(t *testing.T, s *site, modules string) *tusUpload {
	t.Helper()
	u := &tusUpload{file: filepath.Join(t.TempDir(), "slow.bin"), done: make(chan string, 1)}
	if err := os.WriteFile(u.file, harness.UploadContent(3, 40<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	u.cmd = exec.Command("node", filepath.Join(modules, "tus.mjs"), s.URL, u.file, "recover", "1", fmt.Sprint(1<<20))
	u.cmd.Stderr = os.Stderr
	out, err := u.cmd.StdoutPipe()
	if err != nil || u.cmd.Start() != nil {
		t.Fatal("node has not started")
	}
	go func() { // ends with the process
		last := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			last = lines.Text()
		}
		u.done <- last
	}()
	t.Cleanup(func() {
		_ = u.cmd.Process.Kill()
		_ = u.cmd.Wait()
	})
	return u
}

// curl starts a curl that tries again, as its manual says for what passes. Where a fault
// kills processes, curl must be told to try again without a response, too.
func curl(t *testing.T, f fault, args ...string) (ended func()) {
	t.Helper()
	if f.kills {
		args = append(args, "--retry-all-errors")
	}
	cmd := exec.Command("curl", append([]string{"-fsS", "--retry", "60", "--retry-delay", "1", "--retry-connrefused"}, args...)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Errorf("curl %q: %v\n%s", args, err, &out)
		}
	}
}

// TestE2EClientsRecover runs stock clients through all faults: EventSource, WebSocket
// and fetch of a browser, fetch of Node, tus-js-client and curl. Each recovers by
// itself.
func TestE2EClientsRecover(t *testing.T) {
	modules := t.TempDir()
	script, err := os.ReadFile("test/tus/testdata/tus.mjs")
	if err != nil || os.WriteFile(filepath.Join(modules, "tus.mjs"), script, 0o600) != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "tus-js-client@4.3.1")
	install.Dir = modules
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	folder, err := filepath.Abs("test/realtime/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, withRedis := range []bool{true, false} {
		t.Run(fmt.Sprintf("redis %v", withRedis), func(t *testing.T) {
			s, some := recoverable(t, withRedis, "-static", folder)
			browser, node := startBrowser(t, s), startNode(t, s)
			upload := startTus(t, s, modules)
			testutil.Eventually(t, "all clients are connected", func() bool {
				b, n := browser.state(), node.state()
				return len(b.Source) > 0 && len(b.Socket) > 0 && b.Get > 0 && b.Post > 0 && n.Get > 0 && n.Post > 0
			})
			s.met = func(t *testing.T) {
				before := browser.state()
				testutil.Eventually(t, "stream and socket were disconnected", func() bool {
					now := browser.state()
					return now.Closed || now.Errors >= before.Errors+2 && now.Sockets >= before.Sockets+2
				})
			}
			for _, f := range some {
				s.published.publish(t, s.Server)
				before := [2]clientState{browser.state(), node.state()}
				posted, got := curl(t, f, "-d", "from curl", s.URL+"/publish/other"), curl(t, f, s.URL+"/")
				f.do(t, s)
				posted()
				got()
				s.published.publish(t, s.Server)
				testutil.Eventually(t, f.name+": all clients have recovered", func() bool {
					b, n := browser.state(), node.state()
					if b.Closed {
						t.Fatalf("%s: the EventSource gave up after %d streams", f.name, b.Errors)
					}
					return b.Source[len(b.Source)-1].ID >= s.published.last && b.Socket[len(b.Socket)-1].ID >= s.published.last &&
						b.Get > before[0].Get && b.Post > before[0].Post && n.Get > before[1].Get && n.Post > before[1].Post
				})
				after := [2]clientState{browser.state(), node.state()}
				for i, client := range []string{"Chromium", "Node"} {
					failed := after[i].Failed[len(before[i].Failed):]
					t.Logf("%s, %s: %d requests, %d refused, failed %q", f.name, client,
						after[i].Get+after[i].Post-before[i].Get-before[i].Post, after[i].Refused-before[i].Refused, failed)
					// Only a killed process may fail the requests that it is serving.
					if !f.kills && len(failed) > 0 {
						t.Errorf("%s, %s: requests failed: %q", f.name, client, failed)
					}
				}
			}
			now := browser.state()
			for name, all := range map[string][]event{"EventSource": now.Source, "WebSocket": now.Socket} {
				if err := s.published.check(all); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			t.Logf("EventSource: %d events, %d streams ended; WebSocket closed with %v", len(now.Source), now.Errors, now.Codes)
			select {
			case last := <-upload.done:
				if !strings.HasPrefix(last, "done ") {
					t.Errorf("tus-js-client: %s", last)
				}
				stored := filepath.Join(s.Cmd.Dir, "data/uploads/recover/slow.bin")
				if harness.FileSHA256(t, stored) != harness.FileSHA256(t, upload.file) {
					t.Error("the stored file has other content")
				}
			case <-time.After(5 * time.Minute):
				t.Error("the upload has not ended")
			}
		})
	}
}
