package prefork

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageSize is one page of every Linux that Go runs on; what the lanes leave of
// it holds the slot's own sums, and the application's counters.
const pageSize = 4096

// pageLayout changes with the meaning of a page's bytes: a master of another
// layout cannot take over, since children of both would write to it. What was
// unused, and so is zero, may be given a meaning without that: an older binary
// leaves it alone.
const pageLayout = 1

// maxProcesses is how many processes of a slot can report at once: the current one,
// the next, those that leave, and some to spare.
const maxProcesses = 16

// page is a slot's page of the scoreboard: memory that the master and the
// slot's processes map together (memfd_create(2)), so that what a child wrote
// last outlives it and costs no system call. All fields are atomics.
//
// Each process of the slot has a lane of its own, distinguished by generation.
type page struct {
	fd int
	*pageContent
}

// pageContent is what the bytes of a page mean.
type pageContent struct {
	counters [maxProcesses]Counters
	exited   struct { // of processes that are gone, set by the master
		accepted atomic.Int64
		adopted  atomic.Int64
		_        [14]int64
	}
	appCounters AppCounters
}

// NumAppCounters is how many counters a slot has for its application.
const NumAppCounters = 240

// AppCounters are counters of the application, which all processes of a slot share:
// they begin at 0 with the slot and survive its processes, kill -9 and reloads.
// A word never changes its meaning between releases, since processes of two
// count at the same time.
type AppCounters [NumAppCounters]atomic.Int64

// Counters holds the figures of one process of a slot. It fills two cache lines, so that
// neighbours do not slow each other down.
type Counters struct {
	pid         atomic.Int64 // set by the master; 0: no process
	generation  atomic.Int64 // set by the master
	heartbeat   atomic.Int64 // Unix time in nanoseconds
	Connections atomic.Int64 // open now
	Requests    atomic.Int64 // served since the process began
	accepted    atomic.Int64 // connections taken from the slot's own socket
	adopted     atomic.Int64 // and from those of siblings
	_           [9]int64
}

// newPage makes an empty page, in the master.
func newPage(slot string) (*page, error) {
	fd, err := unix.MemfdCreate("gale-"+slot, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	if err := unix.Ftruncate(fd, pageSize); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("ftruncate", err)
	}
	p, err := mapPage(fd)
	if err != nil {
		_ = unix.Close(fd)
	}
	return p, err
}

// mapPage maps the page of a descriptor.
func mapPage(fd int) (*page, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size != pageSize {
		return nil, fmt.Errorf("map scoreboard: fd %d is not a page of it", fd)
	}
	mem, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &page{fd: fd, pageContent: (*pageContent)(unsafe.Pointer(unsafe.SliceData(mem)))}, nil
}

// close unmaps the page, in the master, when the slot is no more.
func (p *page) close() {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(p.pageContent)), pageSize))
	_ = unix.Close(p.fd)
}

// claim readies a free lane for a new process, before it can write to it, and
// returns its number too.
func (p *page) claim(generation int) (*Counters, int) {
	for i := range p.counters {
		l := &p.counters[i]
		if l.pid.Load() != 0 {
			continue
		}
		l.generation.Store(int64(generation))
		l.heartbeat.Store(0)
		l.Connections.Store(0)
		l.Requests.Store(0)
		l.accepted.Store(0)
		l.adopted.Store(0)
		return l, i
	}
	return nil, -1
}

// find returns the lane of a generation and its number; nil if it has none.
func (p *page) find(generation int) (*Counters, int) {
	for i := range p.counters {
		if p.counters[i].generation.Load() == int64(generation) {
			return &p.counters[i], i
		}
	}
	return nil, -1
}

// alone reports whether no process of the slot lives but the given one.
func (p *page) alone(generation int) bool {
	for i := range p.counters {
		if p.counters[i].pid.Load() != 0 && p.counters[i].generation.Load() != int64(generation) {
			return false
		}
	}
	return true
}

// free frees the lane of a process that is gone, and adds what it has accepted
// to the slot's past.
func (p *page) free(l *Counters) {
	l.pid.Store(0)
	l.Connections.Store(0)
	p.exited.accepted.Add(l.accepted.Swap(0))
	p.exited.adopted.Add(l.adopted.Swap(0))
}

func (l *Counters) setHeartbeat(now time.Time) { l.heartbeat.Store(now.UnixNano()) }

// acceptedTotals adds up what the slot's processes have ever accepted, from its own
// socket and from those of siblings.
func (p *page) acceptedTotals() (own, adopted int64) {
	own, adopted = p.exited.accepted.Load(), p.exited.adopted.Load()
	for i := range p.counters {
		own += p.counters[i].accepted.Load()
		adopted += p.counters[i].adopted.Load()
	}
	return own, adopted
}

// appCounterValues is a copy of the application's counters.
func (p *page) appCounterValues() []int64 {
	values := make([]int64, NumAppCounters)
	for i := range values {
		values[i] = p.appCounters[i].Load()
	}
	return values
}

// connections adds up what the slot's processes hold open.
func (p *page) connections() (n int) {
	for i := range p.counters {
		n += int(p.counters[i].Connections.Load())
	}
	return n
}
