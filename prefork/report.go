package prefork

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxReport is the largest report in bytes.
const MaxReport = 1 << 20

var (
	// ErrReportTooLarge: the report is larger than MaxReport.
	ErrReportTooLarge = errors.New("report is too large")
	// ErrNoReports: the master is of an older release, which takes no reports.
	ErrNoReports = errors.New("the master takes no reports")
)

// reportHead is what stands before the two buffers of a report.
const reportHead = pageSize

// reportStride is what one process has of its slot's memory. Only what is
// written to is ever backed by a page.
const reportStride = reportHead + 2*MaxReport

// reports is memory that the master and the slot's processes share, with a
// place for each lane of the slot's page: the last report
// of a process outlives it, and reading it waits for no process. The file is sealed, so that no
// process can make it shorter under the eyes of another (fcntl(2)).
type reports struct {
	file *os.File
	mem  []byte
}

func newReports(slot string) (*reports, error) {
	f, err := newLimitedMemfd("gale-reports-"+slot, maxProcesses*reportStride)
	if err != nil {
		return nil, err
	}
	return mapReports(f)
}

// resumeReports takes over the memory of a descriptor. 0 is none: the previous
// master was of a release without reports.
func resumeReports(slot string, fd int) (*reports, error) {
	if fd == 0 {
		return newReports(slot)
	}
	unix.CloseOnExec(fd)
	return mapReports(os.NewFile(uintptr(fd), slot))
}

func mapReports(f *os.File) (*reports, error) {
	info, err := f.Stat()
	if err == nil && info.Size() != maxProcesses*reportStride {
		err = fmt.Errorf("map reports: %s has %d bytes", f.Name(), info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mem, err := unix.Mmap(descriptor(f), 0, maxProcesses*reportStride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("mmap", err), f.Close())
	}
	return &reports{f, mem}, nil
}

// descriptor is that of the memory, -1 if there is none.
func (r *reports) descriptor() int {
	if r == nil {
		return -1
	}
	return descriptor(r.file)
}

// place is the memory of a lane.
func (r *reports) at(index int) *report {
	return &report{mem: r.mem[index*reportStride : (index+1)*reportStride]}
}

// clear forgets what the lane's last process has reported.
func (r *reports) clear(index int) {
	if r != nil {
		r.at(index).head().Store(0)
	}
}

// read returns a copy of what the lane's process has reported last; nil if it
// has not.
func (r *reports) read(index int) []byte {
	if r == nil || index < 0 {
		return nil
	}
	return r.at(index).read()
}

func (r *reports) close() {
	if r != nil {
		_ = unix.Munmap(r.mem)
		_ = r.file.Close()
	}
}

// report is the place of one process: a head and two buffers. The head says
// which of them holds the last report, and how long it is; the next one is
// written to the other, so a process that is killed while it writes has left a
// whole one.
//
//	bits 0–30 length   31 buffer   32–63 number of the report
type report struct {
	mu  sync.Mutex // writers; only the process itself writes
	mem []byte
}

// inheritReport maps the place of a lane, in the child.
func inheritReport(index int) (*report, error) {
	mem, err := unix.Mmap(fdReports, int64(index)*reportStride, reportStride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map place for reports: %w", err)
	}
	unix.CloseOnExec(fdReports)
	return &report{mem: mem}, nil
}

func (r *report) head() *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(r.mem)))
}

func (r *report) buffer(head uint64) []byte {
	begin := reportHead + int(head>>31&1)*MaxReport
	return r.mem[begin : begin+MaxReport]
}

func (r *report) write(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.head().Load()
	next := (old>>32+1)<<32 | ^old&(1<<31) | uint64(len(text))
	copy(r.buffer(next), text)
	r.head().Store(next)
}

// read copies the last report. It begins again if there is another one by then:
// the one after that would be written over what was copied.
func (r *report) read() []byte {
	for {
		head := r.head().Load()
		size := min(head&(1<<31-1), MaxReport) // the process may have written anything
		text := append([]byte(nil), r.buffer(head)[:size]...)
		if r.head().Load() == head {
			return text
		}
	}
}

// Report publishes a report of this process: an opaque text, which replaces the
// previous one. The master returns it in Stats, even when this process is gone;
// see Options.MergeReports. It returns ErrReportTooLarge or ErrNoReports.
func (c *Child) Report(text []byte) error {
	switch {
	case c.report == nil:
		return ErrNoReports
	case len(text) > MaxReport:
		return ErrReportTooLarge
	}
	c.report.write(text)
	return nil
}
