package prefork

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// server is a master that runs in a separate process.
type server struct {
	file string // its content selects the behaviour of the master and its children
	cmd  *exec.Cmd
	addr string
	out  *testutil.LogBuffer
	exit chan error
}

func startServer(t *testing.T, behaviour string) *server {
	t.Helper()
	s := newServer(t, behaviour)
	s.cmd = exec.Command(os.Args[0])
	s.start(t)
	return s
}

func newServer(t *testing.T, behaviour string) *server {
	t.Helper()
	s := &server{file: filepath.Join(t.TempDir(), "behaviour"), out: &testutil.LogBuffer{}, exit: make(chan error, 1)}
	s.setBehaviour(t, behaviour)
	return s
}

// launch starts s.cmd.
func (s *server) launch(t *testing.T) {
	t.Helper()
	s.cmd.Env = append(os.Environ(), envMaster+"="+s.file, "GORACE=atexit_sleep_ms=0")
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exit <- s.cmd.Wait() }() // ends with the process
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("master's output:\n%s", s.out)
		}
	})
}

// start launches s.cmd and waits until it listens.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.launch(t)
	testutil.Eventually(t, "listening", func() bool {
		scan := bufio.NewScanner(strings.NewReader(s.out.String()))
		for scan.Scan() {
			if a, ok := strings.CutPrefix(scan.Text(), "listening "); ok {
				s.addr = a
				return true
			}
		}
		return false
	})
}

// setBehaviour writes the file that the master reads when it starts or reloads.
func (s *server) setBehaviour(t *testing.T, behaviour string) {
	t.Helper()
	if err := os.WriteFile(s.file, []byte(behaviour), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

func (s *server) logged(text string) bool { return strings.Contains(s.out.String(), text) }

// children returns the PIDs of the master's children, by their name in ps.
func (s *server) children() map[string]int {
	found := map[string]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		fields := processStat(path)
		if len(fields) < 2 || fields[1] != strconv.Itoa(s.cmd.Process.Pid) || fields[0] == "Z" {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		found[strings.TrimRight(string(cmdline), "\x00")] = pid
	}
	return found
}

// processStat returns the fields of a /proc/PID/stat from the third on, which are the
// state and the PID of the parent (proc_pid_stat(5)).
func processStat(path string) []string {
	stat, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func processState(pid int) string {
	if fields := processStat(fmt.Sprintf("/proc/%d/stat", pid)); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

func (s *server) awaitReady(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, "ready", func() bool { return s.logged("msg=ready") })
}

func TestEverySlotServes(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	seen := map[string]bool{}
	testutil.Eventually(t, "responses of both slots", func() bool {
		r, err := request(s.addr)
		if err != nil {
			t.Fatal(err)
		}
		seen[r.slot] = true
		return seen["serve.0"] && seen["serve.1"]
	})
	for _, name := range []string{"test: serve.0", "test: serve.1", "test: worker.0", "test: store.0"} {
		if s.children()[name] == 0 {
			t.Errorf("no child %q among %v", name, s.children())
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-s.exit; err != nil {
		t.Errorf("exit: %v", err)
	}
	if n := strings.Count(s.out.String(), "drains: terminated by the master"); n != 4 {
		t.Errorf("%d children drained; want 4", n)
	}
}

func TestPortInUse(t *testing.T) {
	s := startServer(t, "ok")
	fds, _, err := listenGroup(s.addr, 2)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second server on the port: %v, %v; want address already in use", fds, err)
	}
}

// The next process accepts the connections in the accept queue of a killed child. Only
// the requests that the child was handling are lost.
func TestKilledChildLosesNoQueuedConnection(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	var sent, failed atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for range 16 {
		clients.Go(func() { // ends with stop
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				if _, err := request(s.addr); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	const kills = 8
	for i := range kills {
		name := "test: serve." + strconv.Itoa(i%2)
		before := s.children()[name]
		_ = syscall.Kill(before, syscall.SIGKILL)
		testutil.Eventually(t, "the next process is ready", func() bool {
			now := s.children()[name]
			return now != 0 && now != before && strings.Contains(s.out.String(), fmt.Sprintf("pid=%d boot_time", now))
		})
	}
	close(stop)
	clients.Wait()
	// With 16 clients, a killed child has accepted at most 16 connections.
	if f := failed.Load(); f > kills*16 || sent.Load() < 100 {
		t.Errorf("%d of %d requests failed in %d kills", f, sent.Load(), kills)
	}
	t.Logf("%d of %d requests failed in %d kills", failed.Load(), sent.Load(), kills)
	for range 50 {
		if _, err := request(s.addr); err != nil {
			t.Errorf("after the kills: %v", err)
		}
	}
}

func TestCrashOnBootDoesNotAffectOtherSlots(t *testing.T) {
	s := startServer(t, "crash-on-boot")
	testutil.Eventually(t, "several exits", func() bool { return strings.Count(s.out.String(), `reason="exit status 7"`) >= 5 })
	// Connections that the kernel assigns to the failing slot may wait. Those of the
	// other slot get a response.
	var responses atomic.Int64
	for range 40 {
		go func() { // ends with its timeout at the latest
			if r, err := request(s.addr); err == nil && r.slot == "serve.0" {
				responses.Add(1)
			}
		}()
	}
	testutil.Eventually(t, "responses of the healthy slot", func() bool { return responses.Load() >= 5 })
}

func TestNeverReadyIsKilledAndReplaced(t *testing.T) {
	s := startServer(t, "never-ready")
	testutil.Eventually(t, "boot timeout, then a second process", func() bool {
		return s.logged("not ready within 5s") && s.logged("msg=ready")
	})
}

func TestSecondSignalKills(t *testing.T) {
	s := startServer(t, "stubborn")
	s.awaitReady(t)
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	testutil.Eventually(t, "children drain", func() bool { return strings.Count(s.out.String(), "drains:") == 4 })
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	if err := <-s.exit; err != nil {
		t.Errorf("exit: %v", err)
	}
	if !s.logged("second signal, killing all children") {
		t.Error("the second signal is not in the log")
	}
}

func TestNoChildOutlivesTheMaster(t *testing.T) {
	for _, behaviour := range []string{"ok", "stubborn"} {
		t.Run(behaviour, func(t *testing.T) {
			s := startServer(t, behaviour)
			s.awaitReady(t)
			pids := s.children()
			if len(pids) != 4 {
				t.Fatalf("children: %v", pids)
			}
			_ = s.cmd.Process.Kill()
			<-s.exit
			for name, pid := range pids {
				testutil.Eventually(t, name+" has exited", func() bool { return !alive(pid) })
			}
			fds, _, err := listenGroup(s.addr, 1)
			if err != nil {
				t.Errorf("the port is not free: %v", err)
			}
			closeAll(fds)
		})
	}
}

func TestInheritWithoutMaster(t *testing.T) {
	if _, ok, err := Inherit([]string{"HOME=/"}); ok || err != nil {
		t.Errorf("no GALE_SLOT: %v, %v", ok, err)
	}
	for _, environ := range [][]string{
		{"GALE_SLOT=serve"}, {"GALE_SLOT=serve.x", "GALE_GENERATION=1"}, {"GALE_SLOT=serve.0"}, {"GALE_SLOT="},
	} {
		if _, ok, err := Inherit(environ); !ok || err == nil {
			t.Errorf("%q: %v, %v; want an error", environ, ok, err)
		}
	}
}

// A slot whose process cannot start delays no client, because another slot adopts its
// socket.
func TestSocketOfAFailingSlotIsAdopted(t *testing.T) {
	s := startServer(t, "crash-on-boot")
	testutil.Eventually(t, "several exits", func() bool { return strings.Count(s.out.String(), `reason="exit status 7"`) >= 5 })
	for range 200 {
		r, err := request(s.addr)
		if err != nil || r.slot != "serve.0" {
			t.Fatalf("response %+v, %v; want one of serve.0", r, err)
		}
	}
}

// A stopped process (SIGSTOP) loses no connection, and gets no new ones once it counts
// as stalled. After SIGCONT it gets new connections again.
func TestStoppedChildGetsNoConnections(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	stopped := s.children()["test: serve.0"]
	_ = syscall.Kill(stopped, syscall.SIGSTOP)
	t.Cleanup(func() { _ = syscall.Kill(stopped, syscall.SIGCONT) })
	testutil.Eventually(t, "the child is stopped", func() bool { return processState(stopped) == "T" })
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() { // ends with its responses
			for range 50 {
				if _, err := request(s.addr); err != nil {
					t.Errorf("while a child is stopped: %v", err)
				}
			}
		})
	}
	clients.Wait()
	if !s.logged("child stalled") {
		t.Error("the stall is not in the log")
	}
	_ = syscall.Kill(stopped, syscall.SIGCONT)
	testutil.Eventually(t, "a response of the continued child", func() bool {
		r, err := request(s.addr)
		if err != nil {
			t.Fatal(err)
		}
		return r.pid == stopped
	})
}

// New connections go to the slots with the fewest connections. When a process has been
// killed, its slot gets new connections until it holds as many as the others.
func TestOpenConnectionsAreBalanced(t *testing.T) {
	s := startServer(t, "hold")
	s.awaitReady(t)
	held := map[string][]net.Conn{}
	hold := func(n int) {
		for range n {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			fmt.Fprint(conn, "hold")
			buf := make([]byte, 16)
			k, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			held[string(buf[:k])] = append(held[string(buf[:k])], conn)
			// A child that gets no CPU for a moment counts as stalled.
			testutil.Eventually(t, "both slots get connections", func() bool {
				log := s.out.String()
				return strings.Contains(log[strings.LastIndex(log, "connections steered"):], `slots="[serve.0 serve.1]"`)
			})
			// The master updates the weights once a millisecond. Without a pause,
			// all connections would use the weights from before the first one.
			<-time.After(time.Millisecond)
		}
	}
	hold(100)
	pid := s.children()["test: serve.0"]
	_ = syscall.Kill(pid, syscall.SIGKILL)
	delete(held, "serve.0")
	testutil.Eventually(t, "the next process gets connections", func() bool {
		_, after, ready := strings.Cut(s.out.String(), fmt.Sprintf("pid=%d boot_time", s.children()["test: serve.0"]))
		return ready && s.children()["test: serve.0"] != pid && strings.Contains(after, `slots="[serve.0 serve.1]"`)
	})
	hold(300 - len(held["serve.1"]))
	a, b := len(held["serve.0"]), len(held["serve.1"])
	t.Logf("held: %d and %d", a, b)
	if max(a, b)*10 > min(a, b)*12 {
		t.Errorf("%d and %d are not balanced", a, b)
	}
}
