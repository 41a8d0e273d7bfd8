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

// MaxReport is the maximum size of a report in bytes.
const MaxReport = 1 << 20

var (
	// ErrReportTooLarge: the report is larger than MaxReport.
	ErrReportTooLarge = errors.New("report is too large")
	// ErrNoReports: the master is of an older release, which does not support reports.
	ErrNoReports = errors.New("the master does not support reports")
)

// reportHeadSize is the size of the head before the two buffers of a report.
const reportHeadSize = pageSize

// reportSize is the size of the memory for the report of one process. The kernel
// allocates only the pages that were written to.
const reportSize = reportHeadSize + 2*MaxReport

// reports is memory that the master and the processes of one slot share. It holds one
// report for each Counters of the slot's page, with the same index. The last report of
// a process therefore remains after its exit, and the master reads it without waiting
// for the process. The file is sealed, so that no process can shorten it while others
// have it mapped (fcntl(2)).
type reports struct {
	file *os.File
	mem  []byte
}

func newReports(slot string) (*reports, error) {
	f, err := newLimitedMemfd("gale-reports-"+slot, maxProcesses*reportSize)
	if err != nil {
		return nil, err
	}
	return mapReports(f)
}

// resumeReports takes over the memory from the previous master. fd is 0 if that master does
// not support reports.
func resumeReports(slot string, fd int) (*reports, error) {
	if fd == 0 {
		return newReports(slot)
	}
	unix.CloseOnExec(fd)
	return mapReports(os.NewFile(uintptr(fd), slot))
}

func mapReports(f *os.File) (*reports, error) {
	info, err := f.Stat()
	if err == nil && info.Size() != maxProcesses*reportSize {
		err = fmt.Errorf("map reports: %s has %d bytes", f.Name(), info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mem, err := unix.Mmap(descriptor(f), 0, maxProcesses*reportSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("mmap", err), f.Close())
	}
	return &reports{f, mem}, nil
}

// descriptor returns the descriptor of the memory, or -1 if there is none.
func (r *reports) descriptor() int {
	if r == nil {
		return -1
	}
	return descriptor(r.file)
}

// at returns the report with an index.
func (r *reports) at(index int) *report {
	return &report{mem: r.mem[index*reportSize : (index+1)*reportSize]}
}

// clear deletes the report with an index.
func (r *reports) clear(index int) {
	if r != nil {
		r.at(index).head().Store(0)
	}
}

// read returns a copy of the report with an index. It is empty if there is none.
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

// report is the memory for the report of one process: a head and two buffers. The head
// contains the number of the buffer with the last report, and its length. The next report
// is written to the other buffer. If a process is killed while it writes, its last complete
// report is therefore kept. The head is one 64-bit word:
//
//	bits 0–30   length of the report in bytes
//	bit  31     buffer, 0 or 1
//	bits 32–63  sequence number of the report
//
// Only the process itself writes reports. The master sets the head to 0 between two
// processes.
type report struct {
	mu  sync.Mutex // held while the process writes a report
	mem []byte
}

// inheritReport maps the memory for this process's report, in a child.
func inheritReport(index int) (*report, error) {
	mem, err := unix.Mmap(fdReports, int64(index)*reportSize, reportSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map memory for reports: %w", err)
	}
	unix.CloseOnExec(fdReports)
	return &report{mem: mem}, nil
}

func (r *report) head() *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(r.mem)))
}

func (r *report) buffer(head uint64) []byte {
	start := reportHeadSize + int(head>>31&1)*MaxReport
	return r.mem[start : start+MaxReport]
}

func (r *report) write(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.head().Load()
	next := (old>>32+1)<<32 | ^old&(1<<31) | uint64(len(text))
	copy(r.buffer(next), text)
	r.head().Store(next)
}

// read returns a copy of the last report. The process writes to the two buffers in turn, so
// the second report after this one overwrites the buffer. read therefore copies again if
// the process has written a report meanwhile.
func (r *report) read() []byte {
	for {
		head := r.head().Load()
		size := min(head&(1<<31-1), MaxReport) // a faulty process may have written any length
		text := append([]byte(nil), r.buffer(head)[:size]...)
		if r.head().Load() == head {
			return text
		}
	}
}

// Report publishes a report of this process, such as its metrics. It replaces the
// previous report. The master does not interpret the text. Master.Stats returns it
// while the process runs; for the time after its exit, see Options.MergeReports. The
// error is ErrReportTooLarge or ErrNoReports.
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
