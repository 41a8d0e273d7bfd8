package prefork

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// mapTwice returns the reports of a slot as the master maps them, and one of them as the
// child with that index maps it.
func mapTwice(t *testing.T, index int) (*reports, *report) {
	t.Helper()
	r, err := newReports("test.0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	mem, err := unix.Mmap(r.descriptor(), int64(index)*reportSize, reportSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	return r, &report{mem: mem}
}

func TestLastCompleteReportIsRead(t *testing.T) {
	r, child := mapTwice(t, maxProcesses-1)
	if got := r.read(maxProcesses - 1); len(got) != 0 {
		t.Errorf("before the first report: %q", got)
	}
	child.write([]byte("first"))
	child.write([]byte("second"))
	child.write([]byte("third, longer"))
	// A process that is killed while it writes has not written the head.
	head := child.head().Load()
	copy(child.buffer(^head&(1<<31)), strings.Repeat("x", 100))
	if got := string(r.read(maxProcesses - 1)); got != "third, longer" {
		t.Errorf("read %q", got)
	}
	if got := r.read(maxProcesses - 2); len(got) != 0 {
		t.Errorf("another index has %q", got)
	}
	r.clear(maxProcesses - 1)
	if got := r.read(maxProcesses - 1); len(got) != 0 {
		t.Errorf("after clear: %q", got)
	}
}

func TestReportIsNeverTorn(t *testing.T) {
	r, child := mapTwice(t, 0)
	child.write([]byte("a"))
	const largest = 512 << 10 // so that copying takes longer than writing three times
	var texts [][]byte
	for i := range 26 {
		texts = append(texts, bytes.Repeat([]byte{'a' + byte(i)}, largest-i))
	}
	var writer sync.WaitGroup
	start := make(chan struct{})
	writer.Go(func() { // ends with start
		n := 0
		for range start {
			for range 3 { // the second one overwrites the buffer that is being read
				n++
				child.write(texts[n%len(texts)])
			}
		}
	})
	for range 200 {
		start <- struct{}{}
		text := r.read(0)
		if len(text) == 0 || len(bytes.Trim(text, string(text[:1]))) != 0 {
			t.Errorf("torn: %d bytes", len(text))
			break
		}
	}
	close(start)
	writer.Wait()
}

// Without MergeReports the report of a process is dropped when the process exits.
func TestReportIsDroppedWithoutMergeReports(t *testing.T) {
	m := testMaster(t, nil)
	s := m.slots.all[0]
	_ = m.supervisor.start(s)
	s.reports.at(s.current.index).write([]byte("old"))
	m.supervisor.handleExit(s.current, "killed")
	_ = m.supervisor.start(s)
	if f := m.stats().Slots[0]; len(f.Reports) != 0 {
		t.Errorf("reports %q", f.Reports)
	}
}

// A faulty process can write any length to its memory. The master limits the length.
func TestReportWithInvalidLength(t *testing.T) {
	r, child := mapTwice(t, 0)
	child.head().Store(1<<31 - 1)
	if got := r.read(0); len(got) != MaxReport {
		t.Errorf("%d bytes", len(got))
	}
}

func TestReportLimits(t *testing.T) {
	_, r := mapTwice(t, 0)
	c := &Child{report: r}
	if err := c.Report(make([]byte, MaxReport)); err != nil {
		t.Error(err)
	}
	if err := c.Report(make([]byte, MaxReport+1)); !errors.Is(err, ErrReportTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := (&Child{}).Report(nil); !errors.Is(err, ErrNoReports) {
		t.Errorf("without memory for reports: %v", err)
	}
}

// concat merges reports to a readable text.
func concat(merged, last []byte) []byte { return append(append([]byte(nil), merged...), last...) }

func testMaster(t *testing.T, merge func(merged, last []byte) []byte) *Master {
	t.Helper()
	m, err := New(Options{Roles: []Role{{Name: "serve", Slots: 1}}, Command: []string{"/bin/true"}, MergeReports: merge})
	if err != nil {
		t.Fatal(err)
	}
	*m.sys = (&fakeSystem{controls: map[int]chan string{}}).system()
	return m
}

// The statistics of a slot include processes that have exited, and remain when the slot
// is removed and added again.
func TestStatsAfterExitAndRemoval(t *testing.T) {
	m := testMaster(t, concat)
	s := m.slots.all[0]
	_ = m.supervisor.start(s)
	p := s.current
	p.counters.accepted.Store(5)
	p.counters.adopted.Store(2)
	s.page.appCounters[7].Store(42)
	s.reports.at(p.index).write([]byte("one,"))
	check := func(when, merged string, running int) {
		t.Helper()
		f := m.stats().Slots[0]
		if f.Slot != "serve.0" || f.Accepted != 5 || f.Adopted != 2 || f.AppCounters[7] != 42 || string(f.MergedReport) != merged || len(f.Reports) != running {
			t.Errorf("%s: %+v", when, f)
		}
	}
	check("running", "", 1)
	m.supervisor.handleExit(p, "killed")
	check("after the exit", "one,", 0)
	_ = m.supervisor.start(s)
	s.reports.at(s.current.index).write([]byte("two,"))
	check("second process", "one,", 1)
	m.supervisor.handleExit(s.current, "killed")
	check("after the second exit", "one,two,", 0)
	m.slots.release(s)
	m.slots.all = nil
	check("removed", "one,two,", 0)
	s, err := m.slots.create(m.opt.Roles[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	m.slots.all = append(m.slots.all, s)
	check("added again", "one,two,", 0)
	if len(m.slots.removed) != 0 || s.generation != 2 {
		t.Errorf("removed %v, generation %d", m.slots.removed, s.generation)
	}
}

func TestPanicInMergeReportsLosesOneReport(t *testing.T) {
	m := testMaster(t, func(_, last []byte) []byte {
		if string(last) == "bad" {
			panic(last)
		}
		return last
	})
	s := m.slots.all[0]
	for _, text := range []string{"good", "bad"} {
		_ = m.supervisor.start(s)
		s.reports.at(s.current.index).write([]byte(text))
		m.supervisor.handleExit(s.current, "killed")
	}
	if string(s.mergedReport) != "good" {
		t.Errorf("merged report %q; want good", s.mergedReport)
	}
}

// A master of an older release does not support reports, and passes no memory for them.
func TestResumeFromAMasterWithoutReports(t *testing.T) {
	page, err := newPage("serve.0")
	if err != nil {
		t.Fatal(err)
	}
	m := testMaster(t, concat)
	s, err := m.resumeSlot(savedSlot{Role: "serve", Page: page.fd, Listener: -1})
	if err != nil {
		t.Fatal(err)
	}
	if s.reports.descriptor() < 0 || s.reports.read(0) != nil && len(s.reports.read(0)) > 0 {
		t.Error("no memory for reports")
	}
}

func TestDial(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := newSocket(uintptr(pair[0]), "master")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newSocket(uintptr(pair[1]), "child")
	if err != nil {
		t.Fatal(err)
	}
	c := &Child{control: theirs, fromMaster: newMasterListener()}
	go c.handleMessages(func(error) {}) // ends when ours is closed

	m := testMaster(t, nil)
	m.slots.all[0].current = &process{slot: m.slots.all[0], control: ours}
	go func() { // ends with the test's last call
		for range 2 {
			(<-m.calls)()
		}
	}()
	if _, err := m.Dial(t.Context(), "serve.7"); !errors.Is(err, ErrNoProcess) {
		t.Errorf("unknown slot: %v; want ErrNoProcess", err)
	}
	conn, err := m.Dial(t.Context(), "serve.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	accepted, err := c.MasterListener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(accepted, buf); err != nil || string(buf) != "hello" {
		t.Errorf("got %q, %v", buf, err)
	}
	_, _ = conn.Close(), accepted.Close()

	// If too many connections are pending, further ones are closed.
	for range maxPendingConns + 1 {
		a, b := net.Pipe()
		defer a.Close()
		c.fromMaster.deliver(b)
	}
	if n := len(c.fromMaster.pending); n != maxPendingConns {
		t.Errorf("%d connections are pending; want %d", n, maxPendingConns)
	}
	_ = c.MasterListener().Close()
	_ = ours.Close()
	if _, err := m.Dial(cancelled(t), "serve.0"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
