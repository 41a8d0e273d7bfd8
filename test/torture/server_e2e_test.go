//go:build e2e

package torture_test

import (
	"encoding/json"
	"fmt"
	"net"
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

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/s3test"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// system is what is under test: a server, or two servers on two machines with what they share.
type system struct {
	sites   []*site
	runs    string                   // folder in which attempts record their steps
	redis   *redistest.Server        // nil on SQLite
	gateway *s3test.Gateway          // nil on one machine
	network *network                 // nil on one machine
	links   map[string]*harness.Link // by what is behind them: the first server, Redis, the object storage
}

// newSystem starts the servers.
func newSystem(t *testing.T, store string) *system {
	t.Helper()
	dir := t.TempDir()
	y := &system{runs: filepath.Join(dir, "runs"), links: map[string]*harness.Link{}}
	if err := os.Mkdir(y.runs, 0o700); err != nil {
		t.Fatal(err)
	}
	switch store {
	case storeSQLite:
		y.sites = []*site{newSite(t, y, 0)}
	case storeRedis:
		y.redis = redistest.StartDurable(t)
		y.links[linkRedis] = harness.NewLink(t, "127.0.0.1", y.redis.Addr)
		y.sites = []*site{newSite(t, y, 0, "-redis", "redis://"+y.links[linkRedis].Addr)}
	case storeMachines:
		y.network = newNetwork(t, 2)
		y.redis = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no", "--bind", "127.0.0.1", y.network.services())
		y.gateway = s3test.StartOn(t, dir, y.network.services())
		_, port, err := net.SplitHostPort(y.redis.Addr)
		if err != nil {
			t.Fatal(err)
		}
		y.links[linkRedis] = harness.NewLink(t, y.network.services(), net.JoinHostPort(y.network.services(), port))
		y.links[linkStorage] = harness.NewLink(t, y.network.services(), y.gateway.Addr)
		files := strings.Replace(y.gateway.URL("torture"), y.gateway.Addr, y.links[linkStorage].Addr, 1)
		for i := range 2 {
			y.sites = append(y.sites, newSite(t, y, i, "-redis", "redis://"+y.links[linkRedis].Addr, "-files", files, "-open"))
		}
	}
	y.links[linkServer] = harness.NewLink(t, "127.0.0.1", strings.TrimPrefix(y.sites[0].url, "http://"))
	return y
}

// Names of links, in the names of their faults.
const (
	linkServer  = "the first server"
	linkStorage = "object storage"
)

// urls returns the addresses of the servers. That of the first one is a link.
func (y *system) urls() (all []string) {
	for _, s := range y.sites {
		all = append(all, s.url)
	}
	all[0] = "http://" + y.links[linkServer].Addr
	return all
}

// ready waits until all servers are ready.
func (y *system) ready() {
	for _, s := range y.sites {
		s.ready()
	}
}

// diskSize is the size of the file system of the data of a server.
const diskSize = "16g"

// site is a server. It keeps its addresses and folders when its master is killed and started
// again.
type site struct {
	t     *testing.T
	dir   string // its working directory
	data  string // its data folder, a tmpfs
	url   string
	admin string
	flags []string
	enter []string // command that starts a program on the machine

	mu     sync.Mutex
	server *harness.Server
	logs   []*testutil.LogBuffer // of all masters
}

// newSite starts a server with two serving processes and two workers.
func newSite(t *testing.T, y *system, number int, flags ...string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.data = filepath.Join(s.dir, "data")
	if err := os.Mkdir(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("gale-test", s.data, "tmpfs", 0, "size="+diskSize); err != nil {
		t.Fatalf("mount a tmpfs: %v: run this test as root (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(s.data, syscall.MNT_DETACH) })
	host, port := "127.0.0.1", harness.FreePort(t)
	if s.admin = "127.0.0.1:" + harness.FreePort(t); y.network != nil {
		host = y.network.address(number)
		s.admin = net.JoinHostPort(host, "9888")
		s.enter = y.network.enter(number)
	}
	s.url = "http://" + net.JoinHostPort(host, port)
	s.flags = append([]string{
		"serve", "-host", host, "-port", port, "-admin", s.admin, "-procs", "2", "-workers", "2", "-concurrency", "4", "-queue", strings.Join(queues, ","),
		"-grace", "5s", "-on-upload", "", "-runs", y.runs,
	}, flags...)
	s.start()
	t.Cleanup(func() { s.current().Kill() })
	return s
}

// start starts the master. After a kill, the port may be in use for a moment.
func (s *site) start() {
	s.t.Helper()
	program, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	testutil.Eventually(s.t, "the server starts", func() bool {
		line := slices.Concat(s.enter, []string{program}, harness.OnFreePorts(s.flags))
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), asServer+"=1", "GORACE=atexit_sleep_ms=0", "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey)
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

// stop ends the server as TERM does, and waits until it has ended.
func (s *site) stop() {
	s.t.Helper()
	g := s.current()
	if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	if err := g.Wait(); err != nil {
		s.t.Error(err)
	}
}

// killMachine kills all processes of the server at once.
func (s *site) killMachine() {
	master := s.current().Cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", master)) // children are started by the main thread
	if err != nil {
		s.t.Error(err)
	}
	_ = syscall.Kill(master, syscall.SIGKILL) // not reaped yet, like its children
	for pid := range strings.FieldsSeq(string(text)) {
		if n, err := strconv.Atoi(pid); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	s.current().Kill()
}

// fillDisk leaves a few bytes free on the disk of the server, and returns false if it cannot.
func (s *site) fillDisk() bool {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.data, &disk); err != nil {
		s.t.Error(err)
		return false
	}
	const free = 64 << 10
	used := int64(disk.Blocks-disk.Bfree)*disk.Bsize + free
	return syscall.Mount("gale-test", s.data, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", used)) == nil // fails if more is used by now
}

// emptyDisk makes room on the disk of the server.
func (s *site) emptyDisk() {
	if err := syscall.Mount("gale-test", s.data, "tmpfs", syscall.MS_REMOUNT, "size="+diskSize); err != nil {
		s.t.Error(err)
	}
}

// starve lets a child open only a few more files, and returns the function that ends this.
func (s *site) starve(c child, more int) (end func(), ok bool) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
	if err != nil || !s.owns(c) {
		return nil, false
	}
	var before unix.Rlimit
	if err := unix.Prlimit(c.pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return nil, false // it has ended
	}
	now := unix.Rlimit{Cur: uint64(len(open) + more), Max: before.Max}
	if err := unix.Prlimit(c.pid, unix.RLIMIT_NOFILE, &now, nil); err != nil {
		return nil, false
	}
	return func() {
		if s.owns(c) {
			_ = unix.Prlimit(c.pid, unix.RLIMIT_NOFILE, &before, nil) // it may end now
		}
	}, true
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
	return s.owns(c) && syscall.Kill(c.pid, sig) == nil
}

// owns reports whether a process is a child of the master.
func (s *site) owns(c child) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): state, then the parent
	fields := strings.Fields(after)
	return len(fields) > 1 && fields[1] == strconv.Itoa(s.current().Cmd.Process.Pid)
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
