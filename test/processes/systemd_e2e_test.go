//go:build e2e

package processes_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// supervisor is the socket on which a service manager hears its service
// (sd_notify(3)).
type supervisor struct {
	path  string
	mu    sync.Mutex
	heard []string
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	s := &supervisor{path: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() { // ends with conn
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.heard = append(s.heard, strings.Split(string(buf[:n]), "\n")...)
			s.mu.Unlock()
		}
	}()
	return s
}

// count is how often a state was heard.
func (s *supervisor) count(state string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heard {
		if h == state {
			n++
		}
	}
	return n
}

func (s *supervisor) last(states ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range slices.Backward(s.heard) {
		if slices.Contains(states, h) {
			return h
		}
	}
	return ""
}

// TestE2ESocketActivation has systemd's own tool hold the socket: the connection
// that starts the server waits and is answered; readiness, reload, watchdog and
// end are told to a real socket.
func TestE2ESocketActivation(t *testing.T) {
	const watchdog = time.Second
	s := newSupervisor(t)
	addr := "127.0.0.1:" + harness.FreePort(t)
	cmd := exec.Command("systemd-socket-activate", "-l", addr, "-E", "NOTIFY_SOCKET="+s.path, "-E", "WATCHDOG_USEC=1000000",
		harness.Binary(), "serve", "-admin", "127.0.0.1:0", "-data", t.TempDir(), "-procs", "2", "-port", "1")
	first := make(chan error, 1)
	go func() { // ends with its answer
		var err error
		for deadline := time.Now().Add(testutil.Patience); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
			if err = exchange(addr); err == nil {
				break
			}
		}
		first <- err
	}()
	g, err := harness.LaunchAs(cmd)
	if err != nil {
		t.Fatal(err)
	}
	harness.MustStart(t, g, nil)
	if err := <-first; err != nil {
		t.Errorf("the connection that started it: %v", err)
	}
	if g.URL != "http://"+addr {
		t.Errorf("listens on %s; was handed %s", g.URL, addr)
	}
	testutil.Eventually(t, "READY=1", func() bool { return s.count("READY=1") > 0 })
	testutil.Eventually(t, "the watchdog is told", func() bool { return s.count("WATCHDOG=1") >= 3 })

	_ = g.Cmd.Process.Signal(syscall.SIGHUP)
	testutil.Eventually(t, "the reload is through", func() bool { return strings.Contains(g.Log.String(), "msg=reloaded") })
	testutil.Eventually(t, "READY=1 after RELOADING=1", func() bool {
		return s.count("RELOADING=1") > 0 && s.last("READY=1", "RELOADING=1") == "READY=1"
	})
	if err := exchange(addr); err != nil {
		t.Errorf("after the reload: %v", err)
	}

	// A master that stands still says nothing, which is what systemd acts upon.
	_ = g.Cmd.Process.Signal(syscall.SIGSTOP)
	<-time.After(watchdog / 2) // what was on its way
	before := s.count("WATCHDOG=1")
	<-time.After(2 * watchdog)
	if n := s.count("WATCHDOG=1"); n != before {
		t.Errorf("%d more while the master is stopped", n-before)
	}
	_ = g.Cmd.Process.Signal(syscall.SIGCONT)
	testutil.Eventually(t, "the watchdog is told again", func() bool { return s.count("WATCHDOG=1") > before })

	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if s.count("STOPPING=1") != 1 {
		t.Errorf("heard %q", s.heard)
	}
}
