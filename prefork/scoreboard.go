package prefork

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageSize is the size of a scoreboard page in bytes: one memory page on most
// machines.
const pageSize = 4096

// pageLayout is the version of pageContent. It must change when a field gets another
// meaning. A master with another version cannot take over, because children of both
// releases would write to the same page. Unused bytes are zero, and may be used without
// a new version.
const pageLayout = 1

// maxProcesses is the maximum number of processes of a slot at the same time: the
// current one, its successor, maxLeaving leaving ones, and a reserve.
const maxProcesses = 16

// page is the scoreboard page of a slot: memory that the master and the processes of
// the slot share (memfd_create(2)). A child updates it without a system call, and the
// values remain after the exit of the child. All fields are atomics.
type page struct {
	fd int
	*pageContent
}

// pageContent is the content of a page.
type pageContent struct {
	counters [maxProcesses]Counters
	exited   struct { // sums over processes that have exited, written by the master
		accepted atomic.Int64
		adopted  atomic.Int64
		_        [14]int64
	}
	appCounters AppCounters
}

// NumAppCounters is the number of counters that the application has in each slot.
const NumAppCounters = 240

// AppCounters are counters of the application. All processes of a slot share them.
// They are 0 when the slot is made, and keep their values when a process exits, also
// after kill -9, and during a reload. A counter must have the same meaning in all
// releases, because processes of two releases count at the same time.
type AppCounters [NumAppCounters]atomic.Int64

// Counters are the counters of one process, in the scoreboard page of its slot. The
// program in the child must update Connections and Requests. The master reads Connections to
// steer new connections, Requests for Options.MaxRequests, and ProgramMemory for
// Options.MaxRSS. The struct fills two cache
// lines, so that two processes never write to the same one.
type Counters struct {
	pid         atomic.Int64 // written by the master; 0: no process
	generation  atomic.Int64 // written by the master
	heartbeat   atomic.Int64 // Unix time in nanoseconds
	Connections atomic.Int64 // open connections
	Requests    atomic.Int64 // requests served since the start of the process
	accepted    atomic.Int64 // connections accepted from the slot's own socket
	adopted     atomic.Int64 // connections accepted from the sockets of other slots
	// ProgramMemory is the resident memory of the programs that the process runs, in bytes.
	ProgramMemory atomic.Int64
	_             [8]int64
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

// mapPage maps the page that fd refers to.
func mapPage(fd int) (*page, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size != pageSize {
		return nil, fmt.Errorf("map scoreboard: descriptor %d is not a scoreboard page", fd)
	}
	mem, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &page{fd: fd, pageContent: (*pageContent)(unsafe.Pointer(unsafe.SliceData(mem)))}, nil
}

// close frees the page, in the master.
func (p *page) close() {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(p.pageContent)), pageSize))
	_ = unix.Close(p.fd)
}

// claim resets free counters for a new process, before its start. It returns them and
// their index, or nil and -1 if none are free.
func (p *page) claim(generation int) (*Counters, int) {
	for i := range p.counters {
		c := &p.counters[i]
		if c.pid.Load() != 0 {
			continue
		}
		c.generation.Store(int64(generation))
		c.heartbeat.Store(0)
		c.Connections.Store(0)
		c.Requests.Store(0)
		c.accepted.Store(0)
		c.adopted.Store(0)
		c.ProgramMemory.Store(0)
		return c, i
	}
	return nil, -1
}

// find returns the counters of a generation and their index, or nil and -1 if it has
// none.
func (p *page) find(generation int) (*Counters, int) {
	for i := range p.counters {
		if p.counters[i].generation.Load() == int64(generation) {
			return &p.counters[i], i
		}
	}
	return nil, -1
}

// onlyProcess reports whether no other process of the slot is running than the one with the
// given generation.
func (p *page) onlyProcess(generation int) bool {
	for i := range p.counters {
		if p.counters[i].pid.Load() != 0 && p.counters[i].generation.Load() != int64(generation) {
			return false
		}
	}
	return true
}

// free frees the counters of a process that has exited, and adds them to the sums of
// the slot.
func (p *page) free(c *Counters) {
	c.pid.Store(0)
	c.Connections.Store(0)
	p.exited.accepted.Add(c.accepted.Swap(0))
	p.exited.adopted.Add(c.adopted.Swap(0))
}

func (c *Counters) setHeartbeat(now time.Time) { c.heartbeat.Store(now.UnixNano()) }

// acceptedTotals returns the numbers of connections that all processes of the slot have
// ever accepted, from its own socket and from the sockets of other slots.
func (p *page) acceptedTotals() (own, adopted int64) {
	own, adopted = p.exited.accepted.Load(), p.exited.adopted.Load()
	for i := range p.counters {
		own += p.counters[i].accepted.Load()
		adopted += p.counters[i].adopted.Load()
	}
	return own, adopted
}

// appCounterValues returns a copy of the application's counters.
func (p *page) appCounterValues() []int64 {
	values := make([]int64, NumAppCounters)
	for i := range values {
		values[i] = p.appCounters[i].Load()
	}
	return values
}

// connections returns the number of connections that the processes of the slot hold.
func (p *page) connections() (n int) {
	for i := range p.counters {
		n += int(p.counters[i].Connections.Load())
	}
	return n
}
