package prefork

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageSize is one page of every Linux that Go runs on; the rest of it is room
// for the application's counters.
const pageSize = 4096

// Page is a slot's page of the scoreboard: memory that the master and the
// slot's processes map together (memfd_create(2)), so that what a child wrote
// last outlives it and costs no system call. All fields are atomics.
//
// A slot may hold two processes for a while, the one that leaves and the one
// that came; each has a lane of its own, told apart by its generation.
type Page struct {
	fd    int
	lanes *[2]Lane
}

// Lane is what one process of a slot reports.
type Lane struct {
	pid         atomic.Int64 // set by the master; 0: no process
	heartbeat   atomic.Int64 // Unix time in nanoseconds
	Connections atomic.Int64 // open now
	Requests    atomic.Int64 // answered since the process began
	accepted    atomic.Int64 // connections taken from the slot's own socket
	adopted     atomic.Int64 // and from those of siblings
	_           [2]int64
}

// newPage makes an empty page, in the master.
func newPage(slot string) (*Page, error) {
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

// mapPage maps the page behind fd; the mapping lasts as long as the process.
func mapPage(fd int) (*Page, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size != pageSize {
		return nil, fmt.Errorf("map scoreboard: fd %d is not a page of it", fd)
	}
	mem, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Page{fd: fd, lanes: (*[2]Lane)(unsafe.Pointer(unsafe.SliceData(mem)))}, nil
}

func (p *Page) lane(generation int) *Lane { return &p.lanes[generation%2] }

// clear readies a lane for a new process, before it can write to it.
func (l *Lane) clear() {
	l.heartbeat.Store(0)
	l.Connections.Store(0)
	l.Requests.Store(0)
	l.accepted.Store(0)
	l.adopted.Store(0)
}

// vacate says that the lane's process is gone, and its connections with it.
func (l *Lane) vacate() {
	l.pid.Store(0)
	l.Connections.Store(0)
}

func (l *Lane) beat(now time.Time) { l.heartbeat.Store(now.UnixNano()) }

// arrived adds up what the slot's processes have accepted.
func (p *Page) arrived() (n int64) {
	for i := range p.lanes {
		n += p.lanes[i].accepted.Load() + p.lanes[i].adopted.Load()
	}
	return n
}

// connections adds up what the slot's processes hold open.
func (p *Page) connections() int {
	return int(p.lanes[0].Connections.Load() + p.lanes[1].Connections.Load())
}
