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

// notifySocket is the socket on which a service manager receives the states of its
// service (sd_notify(3)).
type notifySocket struct {
	path     string
	mu       sync.Mutex
	received []string
}

func newNotifySocket(t *testing.T) *notifySocket {
	t.Helper()
	s := &notifySocket{path: filepath.Join(t.TempDir(), "notify")}
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
			s.received = append(s.received, strings.Split(string(buf[:n]), "\n")...)
			s.mu.Unlock()
		}
	}()
	return s
}

// count returns how often a state was received.
func (s *notifySocket) count(state string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.received {
		if h == state {
			n++
		}
	}
	return n
}

// last returns the last received state of these.
func (s *notifySocket) last(states ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range slices.Backward(s.received) {
		if slices.Contains(states, h) {
			return h
		}
	}
	return ""
}

// TestE2ESocketActivation starts the server by systemd-socket-activate. The
// connection that starts it gets a response, and the server sends readiness,
// reload, watchdog and end to a notification socket.
func TestE2ESocketActivation(t *testing.T) {
	const watchdog = time.Second
	s := newNotifySocket(t)
	addr := "127.0.0.1:" + harness.FreePort(t)
	cmd := exec.Command("systemd-socket-activate", "-l", addr, "-E", "NOTIFY_SOCKET="+s.path, "-E", "WATCHDOG_USEC=1000000",
		harness.Binary(), "serve", "-admin", "127.0.0.1:0", "-data", t.TempDir(), "-procs", "2", "-port", "1")
	first := make(chan error, 1)
	go func() { // ends with the response
		var err error
		for deadline := time.Now().Add(testutil.Patience); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
			if err = exchange(addr); err == nil {
				break
			}
		}
		first <- err
	}()
	g, err := harness.LaunchAs(cmd)
	g = harness.MustStart(t, g, err)
	if err := <-first; err != nil {
		t.Errorf("the connection that started it: %v", err)
	}
	if g.URL != "http://"+addr {
		t.Errorf("the server listens on %s, and not on the inherited %s", g.URL, addr)
	}
	testutil.Eventually(t, "READY=1", func() bool { return s.count("READY=1") > 0 })
	testutil.Eventually(t, "WATCHDOG=1 three times", func() bool { return s.count("WATCHDOG=1") >= 3 })

	_ = g.Cmd.Process.Signal(syscall.SIGHUP)
	testutil.Eventually(t, "the reload is done", func() bool { return strings.Contains(g.Log.String(), "msg=reloaded") })
	testutil.Eventually(t, "READY=1 after RELOADING=1", func() bool {
		return s.count("RELOADING=1") > 0 && s.last("READY=1", "RELOADING=1") == "READY=1"
	})
	if err := exchange(addr); err != nil {
		t.Errorf("after the reload: %v", err)
	}

	// A stopped master sends no WATCHDOG=1, so systemd would restart it.
	_ = g.Cmd.Process.Signal(syscall.SIGSTOP)
	<-time.After(watchdog / 2) // until messages in transit have arrived
	before := s.count("WATCHDOG=1")
	<-time.After(2 * watchdog)
	if n := s.count("WATCHDOG=1"); n != before {
		t.Errorf("the stopped master has sent %d more", n-before)
	}
	_ = g.Cmd.Process.Signal(syscall.SIGCONT)
	testutil.Eventually(t, "WATCHDOG=1 again", func() bool { return s.count("WATCHDOG=1") > before })

	_ = g.Cmd.Process.Signal(syscall.SIGTERM)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if s.count("STOPPING=1") != 1 {
		t.Errorf("received %q", s.received)
	}
}
