package prefork

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// load sends requests from 8 clients without pauses, and counts the failures.
type load struct {
	sent, failed atomic.Int64
	clients      sync.WaitGroup
	stop         chan struct{}
	once         sync.Once
}

func startLoad(t *testing.T, addr string) *load {
	l := &load{stop: make(chan struct{})}
	t.Cleanup(l.halt)
	for range 8 {
		l.clients.Go(func() { // ends with stop
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				l.sent.Add(1)
				if _, err := request(addr); err != nil {
					l.failed.Add(1)
					t.Logf("request failed: %v", err)
				}
			}
		})
	}
	return l
}

// end stops the load after 100 requests at least. It fails the test if a request failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, "100 requests", func() bool { return l.sent.Load() >= 100 })
	l.halt()
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", l.failed.Load(), l.sent.Load())
	}
}

func (l *load) halt() {
	l.once.Do(func() { close(l.stop) })
	l.clients.Wait()
}

func TestReloadReplacesEveryProcess(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	before := s.children()
	l := startLoad(t, s.addr)
	for i := range 3 {
		s.setBehaviour(t, fmt.Sprintf("release-%d", i))
		s.signal(syscall.SIGHUP)
		testutil.Eventually(t, "reloaded", func() bool { return s.logged(fmt.Sprintf("msg=reloaded release=%d pid=%d", i+1, s.cmd.Process.Pid)) })
	}
	l.end(t)
	for _, state := range []string{"", "+", "++", "+++"} { // a state for each master
		if !s.logged(fmt.Sprintf("application state %q\n", state)) {
			t.Errorf("no master has the state %q", state)
		}
	}
	after := s.children()
	testutil.Eventually(t, "old processes have exited", func() bool { after = s.children(); return len(after) == 4 })
	if !slices.Equal(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))) {
		t.Errorf("slots %v became %v", before, after)
	}
	for name, pid := range after {
		if kept := before[name] == pid; kept != (name == "test: store.0") {
			t.Errorf("%s: %d became %d", name, before[name], pid)
		}
	}
	for range 20 {
		if r, err := request(s.addr); err != nil || r.behaviour != "release-2" {
			t.Errorf("%+v, %v; want the last release", r, err)
		}
	}
}

// A reload that is requested during another reload follows it.
// A SIGHUP that arrives while the master executes the new binary is not lost.
func TestReloadsInARow(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	l := startLoad(t, s.addr)
	for range 50 {
		s.signal(syscall.SIGHUP)
		if _, err := request(s.addr); err != nil {
			t.Error(err)
		}
	}
	s.setBehaviour(t, "last")
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "the last release in all slots", func() bool {
		for range 20 {
			if r, err := request(s.addr); err != nil || r.behaviour != "last" {
				return false
			}
		}
		return true
	})
	l.end(t)
}

// The master misses a SIGHUP while it executes the new binary. It then detects the changed
// configuration itself.
func TestMissedReloadIsDetected(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	for delay := range 30 {
		s.setBehaviour(t, fmt.Sprintf("first-%d", delay))
		s.signal(syscall.SIGHUP)
		<-time.After(time.Duration(2*delay) * time.Millisecond)
		last := fmt.Sprintf("second-%d", delay)
		s.setBehaviour(t, last)
		s.signal(syscall.SIGHUP)
		testutil.Eventually(t, last, func() bool {
			for range 10 {
				if r, err := request(s.addr); err != nil || r.behaviour != last {
					return false
				}
			}
			return true
		})
	}
}

// During a reload the master misses no exit of a child, no SIGTTIN and no SIGTTOU.
func TestExitsAndSignalsDuringAReload(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	for delay := range 20 {
		s.signal(syscall.SIGHUP)
		<-time.After(time.Duration(2*delay) * time.Millisecond)
		s.signal(syscall.SIGTTIN)
		for name, pid := range s.children() {
			if name != "test: serve.0" {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		}
		s.signal(syscall.SIGTTOU)
	}
	s.setBehaviour(t, "last")
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "all slots, of the last release", func() bool {
		if len(s.children()) != 4 {
			return false
		}
		for range 10 {
			if r, err := request(s.addr); err != nil || r.behaviour != "last" {
				return false
			}
		}
		return true
	})
}

// The new master uses the configuration that the trial has read, although the file becomes
// invalid while canaries start.
func TestConfigurationBecomesInvalidDuringAReload(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	l := startLoad(t, s.addr)
	s.setBehaviour(t, "slow")
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "a canary has started", func() bool { return strings.Count(s.out.String(), "generation=2") >= 1 })
	s.setBehaviour(t, "bad-config")
	testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded release=1") })
	l.end(t)
	if r, err := request(s.addr); err != nil || r.behaviour != "slow" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A reload drains a stalled child, and does not kill it: the child may recover.
func TestStalledChildDuringAReload(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	victim := s.children()["test: serve.1"]
	_ = syscall.Kill(victim, syscall.SIGSTOP)
	testutil.Eventually(t, "the child stalls", func() bool { return s.logged("child stalled") })
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded") })
	_ = syscall.Kill(victim, syscall.SIGCONT)
	testutil.Eventually(t, "the child exits", func() bool { return !alive(victim) })
	if s.logged("child hung") || s.logged("killing child") {
		t.Error("the child was killed")
	}
}

// The socket of a removed slot leaves its group although a stopped child has a copy.
// Otherwise the next slot would get no connections.
func TestRemovalOfTheSlotOfAStoppedChild(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	victim := s.children()["test: serve.1"]
	_ = syscall.Kill(victim, syscall.SIGSTOP)
	t.Cleanup(func() { _ = syscall.Kill(victim, syscall.SIGCONT) })
	s.signal(syscall.SIGTTOU)
	testutil.Eventually(t, "the socket is closed", func() bool { return s.logged(`msg="child draining" slot=serve.1`) })
	s.signal(syscall.SIGTTIN)
	testutil.Eventually(t, "a new process", func() bool {
		return s.logged(`msg="child ready" slot=serve.1`) && s.children()["test: serve.1"] != victim
	})
	startLoad(t, s.addr).end(t)
}

func TestReloadWithoutTheBinary(t *testing.T) {
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(program, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, "ok")
	s.cmd = exec.Command(program)
	s.start(t)
	s.awaitReady(t)
	if err := os.Rename(program, program+".old"); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "the failure", func() bool { return s.logged("reload failed, nothing is changed") })
	if err := os.Rename(program+".old", program); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded") })
}

func TestFailingReleaseChangesNothing(t *testing.T) {
	for behaviour, want := range map[string]string{
		"bad-config":   "exit status 2: configuration: bad value",
		"crash":        "serve.0 of the new release: exit status 7",
		"hang-on-boot": "serve.0 of the new release: not ready within",
	} {
		t.Run(behaviour, func(t *testing.T) {
			// The boot timeout of the running master applies.
			first := "ok"
			if behaviour == "hang-on-boot" {
				first = "never-ready"
			}
			s := startServer(t, first)
			s.awaitReady(t)
			before := s.children()
			l := startLoad(t, s.addr)
			s.setBehaviour(t, behaviour)
			s.signal(syscall.SIGHUP)
			testutil.Eventually(t, "failure", func() bool { return s.logged("reload failed, nothing is changed") })
			l.end(t)
			if !s.logged(want) {
				t.Errorf("%q is not in the log", want)
			}
			if after := s.children(); !maps.Equal(before, after) {
				t.Errorf("%v became %v", before, after)
			}
			s.setBehaviour(t, "repaired")
			s.signal(syscall.SIGHUP)
			testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded") })
			// A child that drains may still accept connections from its queue.
			testutil.Eventually(t, "the new release responds", func() bool {
				r, err := request(s.addr)
				return err == nil && r.behaviour == "repaired"
			})
		})
	}
}

// If a new release does not start in one slot, that slot keeps its old process. The next
// release replaces it.
func TestReleaseThatFailsInOneSlot(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	old := s.children()["test: serve.1"]
	l := startLoad(t, s.addr)
	s.setBehaviour(t, "crash-on-boot")
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "several attempts", func() bool { return strings.Count(s.out.String(), "the old process stays") >= 3 })
	if now := s.children()["test: serve.1"]; now != old && alive(old) == false {
		t.Errorf("the old process %d has exited", old)
	}
	s.setBehaviour(t, "repaired")
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded release=2") })
	l.end(t)
}

// A reload changes the number of slots to the number in the new configuration.
func TestReloadChangesTheNumberOfSlots(t *testing.T) {
	s := startServer(t, "ok 2")
	s.awaitReady(t)
	l := startLoad(t, s.addr)
	for _, slots := range []int{4, 1, 3} {
		s.setBehaviour(t, fmt.Sprintf("ok %d", slots))
		s.signal(syscall.SIGHUP)
		testutil.Eventually(t, fmt.Sprintf("%d slots", slots), func() bool { return len(s.children()) == slots+2 })
	}
	l.end(t)
}

func TestAddAndRemoveSlots(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	l := startLoad(t, s.addr)
	for range 3 {
		s.signal(syscall.SIGTTIN)
		testutil.Eventually(t, "three slots", func() bool { return s.children()["test: serve.2"] != 0 })
		s.signal(syscall.SIGTTOU)
		testutil.Eventually(t, "two slots", func() bool { return s.children()["test: serve.2"] == 0 })
	}
	s.signal(syscall.SIGTTOU)
	testutil.Eventually(t, "one slot", func() bool { return s.children()["test: serve.1"] == 0 })
	s.signal(syscall.SIGTTOU)
	testutil.Eventually(t, "a warning", func() bool { return s.logged("cannot remove the last slot") })
	l.end(t)
	if _, err := request(s.addr); err != nil {
		t.Error(err)
	}
}

// SIGTTIN cancels a removal that has not finished.
func TestSlotRemovalIsCancelled(t *testing.T) {
	s := startServer(t, "ok")
	s.awaitReady(t)
	before := s.children()
	for range 5 {
		s.signal(syscall.SIGTTOU)
		s.signal(syscall.SIGTTIN)
	}
	testutil.Eventually(t, "the signals are handled", func() bool {
		return strings.Count(s.out.String(), "slot removal cancelled")+strings.Count(s.out.String(), "slot added") >= 1
	})
	for range 20 {
		if _, err := request(s.addr); err != nil {
			t.Error(err)
		}
	}
	if after := s.children(); len(after) < len(before) {
		t.Errorf("%v became %v", before, after)
	}
}

func TestRequestLimit(t *testing.T) {
	s := startServer(t, "recycle")
	s.awaitReady(t)
	before := s.children()
	l := startLoad(t, s.addr)
	testutil.Eventually(t, "replacements", func() bool { return strings.Count(s.out.String(), "request limit reached") >= 6 })
	l.end(t)
	after := s.children()
	if before["test: serve.0"] == after["test: serve.0"] || before["test: worker.0"] != after["test: worker.0"] {
		t.Errorf("%v became %v", before, after)
	}
}
