package prefork

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/testutil"
)

// startWithShell starts a master from a shell, which first runs prepare. files are its
// descriptors from 3 on, as from systemd.
func startWithShell(t *testing.T, behaviour, prepare string, files ...*os.File) *server {
	t.Helper()
	s := newServer(t, behaviour)
	s.cmd = exec.Command("/bin/sh", "-c", prepare+` exec "$0"`, os.Args[0])
	s.cmd.ExtraFiles = files
	s.start(t)
	return s
}

// systemdSockets returns n listening sockets, as systemd passes them, and their address.
func systemdSockets(t *testing.T, n int) (files []*os.File, addr string) {
	t.Helper()
	reuse := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	addr = "127.0.0.1:0"
	for range n {
		ln, err := reuse.Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		addr = ln.Addr().String()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
		t.Cleanup(func() { _ = f.Close() })
		files = append(files, f)
	}
	return files, addr
}

func TestSocketsFromSystemd(t *testing.T) {
	for _, c := range []struct {
		name    string
		sockets int
		slots   []string
	}{
		{"one socket is shared", 1, []string{"test: serve.0", "test: serve.1"}},
		{"each of three is a slot", 3, []string{"test: serve.0", "test: serve.1", "test: serve.2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, addr := systemdSockets(t, c.sockets)
			s := startWithShell(t, "ok", fmt.Sprintf("export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=http;", c.sockets), files...)
			s.awaitReady(t)
			if s.addr != addr {
				t.Fatalf("listens on %s; want the socket from systemd, %s", s.addr, addr)
			}
			l := startLoad(t, addr)
			s.setBehaviour(t, "reloaded")
			s.signal(syscall.SIGHUP)
			testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded") })
			_ = syscall.Kill(s.children()["test: serve.0"], syscall.SIGSTOP)
			testutil.Eventually(t, "the stopped child stalls", func() bool { return s.logged("child stalled") })
			_ = syscall.Kill(s.children()["test: serve.0"], syscall.SIGCONT)
			l.end(t)
			children := s.children()
			for _, name := range c.slots {
				pid := children[name]
				env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				if pid == 0 || err != nil || strings.Contains(string(env), "LISTEN_") {
					t.Errorf("%s: PID %d, %v, environment %q", name, pid, err, env)
				}
			}
			s.signal(syscall.SIGTTIN)
			if c.sockets == 1 {
				testutil.Eventually(t, "a third slot", func() bool { return s.children()["test: serve.2"] != 0 })
			} else {
				testutil.Eventually(t, "a refusal", func() bool { return s.logged("their number is fixed") })
			}
		})
	}
}

func TestSystemdSocketsForAnotherProcess(t *testing.T) {
	files, addr := systemdSockets(t, 1)
	s := startWithShell(t, "ok", "export LISTEN_PID=1 LISTEN_FDS=1;", files...)
	s.awaitReady(t)
	if s.addr == addr {
		t.Error("the master took a socket that systemd passed to another process")
	}
}

func TestSystemdDescriptorThatIsNotASocket(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	s := newServer(t, "ok")
	s.cmd = exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0"`, os.Args[0])
	s.cmd.ExtraFiles = []*os.File{r}
	s.launch(t)
	if err := <-s.exit; err == nil || !s.logged("descriptor 3 from systemd is not a listening socket") {
		t.Errorf("%v: %s", err, s.out)
	}
}

// notifications are the notifications of a service to systemd.
type notifications struct {
	mu       sync.Mutex
	received []string
}

func (n *notifications) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.received)
}

func (n *notifications) index(state string) int {
	return slices.IndexFunc(n.all(), func(s string) bool { return slices.Contains(strings.Split(s, "\n"), state) })
}

func listenNotifications(t *testing.T) (path string, n *notifications) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	n = &notifications{}
	go func() { // ends with conn
		buf := make([]byte, 4096)
		for {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.received = append(n.received, string(buf[:k]))
			n.mu.Unlock()
		}
	}()
	return path, n
}

func TestSystemdNotifications(t *testing.T) {
	path, n := listenNotifications(t)
	s := startWithShell(t, "ok", "export NOTIFY_SOCKET="+path+" WATCHDOG_PID=$$ WATCHDOG_USEC=100000;")
	testutil.Eventually(t, "READY", func() bool { return n.index("READY=1") >= 0 })
	testutil.Eventually(t, "WATCHDOG", func() bool { return n.index("WATCHDOG=1") >= 0 })
	before := len(n.all())
	s.setBehaviour(t, "reloaded")
	s.signal(syscall.SIGHUP)
	after := func(state string) int {
		return slices.IndexFunc(n.all()[before:], func(s string) bool { return slices.Contains(strings.Split(s, "\n"), state) })
	}
	testutil.Eventually(t, "RELOADING, then READY", func() bool {
		return after("RELOADING=1") >= 0 && after("READY=1") > after("RELOADING=1")
	})
	reloading := n.all()[before+after("RELOADING=1")]
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	_, rest, _ := strings.Cut(reloading, "MONOTONIC_USEC=")
	var usec int64
	if _, err := fmt.Sscan(rest, &usec); err != nil || usec > now.Nano()/1000 || usec < now.Nano()/1000-int64(time.Minute/time.Microsecond) {
		t.Errorf("%q; the monotonic clock is at %d", reloading, now.Nano()/1000)
	}
	testutil.Eventually(t, "the status of all slots", func() bool { return n.index("STATUS=4 of 4 slots live") >= 0 })
	s.setBehaviour(t, "bad-config")
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "the failure in the status", func() bool {
		return slices.ContainsFunc(n.all(), func(s string) bool {
			return strings.Contains(s, "READY=1") && strings.Contains(s, "reload failed: ") && strings.Contains(s, "bad value")
		})
	})
	s.signal(syscall.SIGTERM)
	if err := <-s.exit; err != nil {
		t.Errorf("exit: %v", err)
	}
	if n.index("STOPPING=1") < 0 {
		t.Errorf("notifications %q; want STOPPING=1", n.all())
	}
}

// As PID 1, in a container, the master reaps orphans, and SIGTERM stops all processes.
func TestAsPID1(t *testing.T) {
	s := newServer(t, "orphans")
	s.cmd = exec.Command(os.Args[0])
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Getuid() != 0 {
		s.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		s.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		s.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	s.start(t)
	s.awaitReady(t)
	pids := s.children()
	testutil.Eventually(t, "unknown processes are reaped", func() bool { return strings.Count(s.out.String(), "reaped unknown process") >= 4 })
	if r, err := request(s.addr); err != nil || r.pid > 1000 {
		t.Errorf("%+v, %v; want a PID of the container", r, err)
	}
	s.signal(syscall.SIGTERM)
	if err := <-s.exit; err != nil {
		t.Errorf("exit: %v", err)
	}
	for name, pid := range pids {
		if alive(pid) {
			t.Errorf("%s still runs", name)
		}
	}
}

func TestSystemdSocketCount(t *testing.T) {
	for _, c := range []struct {
		environ []string
		n       int
		fails   bool
	}{
		{nil, 0, false},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=2"}, 2, false},
		{[]string{"LISTEN_PID=8", "LISTEN_FDS=2"}, 0, false},
		{[]string{"LISTEN_FDS=2"}, 0, false},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=x"}, 0, true},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=-1"}, 0, true},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=99999"}, 0, true},
	} {
		if n, err := systemdSocketCount(c.environ, 7); n != c.n || (err != nil) != c.fails {
			t.Errorf("%q: %d, %v", c.environ, n, err)
		}
	}
}

func TestResourceLimits(t *testing.T) {
	m, err := New(Options{Roles: []Role{{Name: "serve", Slots: 3}, {Name: "worker", Slots: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	m.sys.cpus = func() int { return 4 }
	m.sys.memoryLimit = func() int64 { return 400 << 20 }
	for role, want := range map[string]string{
		"serve":  "GOMAXPROCS=2 GOMEMLIMIT=104857600",
		"worker": "GOMAXPROCS=4 GOMEMLIMIT=104857600",
	} {
		if got := m.supervisor.resourceLimits(role); got != want {
			t.Errorf("%s: %q; want %q", role, got, want)
		}
	}
	m.sys.memoryLimit = func() int64 { return 0 }
	if got := m.supervisor.resourceLimits("serve"); got != "GOMAXPROCS=2" {
		t.Errorf("no limit: %q", got)
	}
}
