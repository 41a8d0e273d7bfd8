//go:build e2e

package torture_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// site is the server under test. It keeps its addresses and folders when its master is killed
// and started again.
type site struct {
	t     *testing.T
	dir   string
	url   string
	admin string
	flags []string
	redis *redistest.Server // nil on SQLite

	mu     sync.Mutex
	server *harness.Server
	logs   []*testutil.LogBuffer // of all masters
}

// newSite starts a server with two serving processes and two workers, on SQLite or on Redis.
func newSite(t *testing.T, store string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	port, admin := harness.FreePort(t), "127.0.0.1:"+harness.FreePort(t)
	s.url, s.admin = "http://127.0.0.1:"+port, admin
	s.flags = []string{
		"serve", "-port", port, "-admin", admin, "-procs", "2", "-workers", "2", "-concurrency", "4", "-queue", strings.Join(queues, ","),
		"-grace", "5s", "-on-upload", "", "-runs", s.runs(),
	}
	if store == "redis" {
		s.redis = redistest.StartDurable(t)
		s.flags = append(s.flags, "-redis", s.redis.URL())
	}
	if err := os.Mkdir(s.runs(), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() { s.current().Kill() })
	return s
}

// runs is the folder in which attempts record their steps.
func (s *site) runs() string { return filepath.Join(s.dir, "runs") }

// start starts the master. After a kill, the port may be in use for a moment.
func (s *site) start() {
	s.t.Helper()
	program, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	testutil.Eventually(s.t, "the server starts", func() bool {
		cmd := exec.Command(program, harness.OnFreePorts(s.flags)...)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), asServer+"=1", "GORACE=atexit_sleep_ms=0")
		g, err := harness.LaunchAs(cmd)
		if err != nil {
			s.t.Log(err)
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.server, s.logs = g, append(s.logs, g.Log)
		return true
	})
}

func (s *site) current() *harness.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// child is a process of a slot.
type child struct {
	slot string
	pid  int
}

// slots returns the slots, or nil while the admin endpoint does not respond.
func (s *site) slots() []harness.SlotStatus {
	code, text, err := harness.Get("http://" + s.admin + "/status")
	var status struct{ Slots []harness.SlotStatus }
	if err != nil || code != http.StatusOK || json.Unmarshal([]byte(text), &status) != nil {
		return nil
	}
	return status.Slots
}

// ready waits until all slots are live and the server accepts tasks.
func (s *site) ready() {
	s.t.Helper()
	testutil.Eventually(s.t, "all slots are live", func() bool {
		slots := s.slots()
		down := slices.ContainsFunc(slots, func(slot harness.SlotStatus) bool { return slot.State != "live" })
		return len(slots) > 0 && !down
	})
	harness.AwaitReady(s.t, s.current(), http.StatusOK)
}

// children returns the live processes of the slots of a role.
func (s *site) children(role string) (all []child) {
	for _, slot := range s.slots() {
		if slot.Role == role && slot.State == "live" {
			all = append(all, child{slot.Slot, slot.PID})
		}
	}
	return all
}

// signal sends a signal to a child, if it still is one.
func (s *site) signal(c child, sig syscall.Signal) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): state, then the parent
	fields := strings.Fields(after)
	return len(fields) > 1 && fields[1] == strconv.Itoa(s.current().Cmd.Process.Pid) && syscall.Kill(c.pid, sig) == nil
}

// log returns the log of all masters.
func (s *site) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all strings.Builder
	for _, l := range s.logs {
		all.WriteString(l.String())
	}
	return all.String()
}
