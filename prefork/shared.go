package prefork

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// shared is memory that the master and all its children share, see Options.SharedMemory.
// The file is sealed, as that of reports.
type shared struct {
	file *os.File
	mem  []byte
}

// newShared makes the memory. It returns nil for size 0.
func newShared(size int) (*shared, error) {
	if size == 0 {
		return nil, nil //nolint:nilnil // no memory is valid
	}
	f, err := newLimitedMemfd("gale-shared", size)
	if err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	return mapShared(f)
}

// resumeShared takes over the memory from the previous master. It makes new memory if that
// master has none (fd is 0), or one of another size.
func resumeShared(fd, size int) (*shared, error) {
	if fd == 0 {
		return newShared(size)
	}
	unix.CloseOnExec(fd)
	s, err := mapShared(os.NewFile(uintptr(fd), "gale-shared"))
	if err != nil {
		return nil, err
	}
	if len(s.mem) != size {
		s.close()
		return newShared(size)
	}
	return s, nil
}

func mapShared(f *os.File) (*shared, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mem, err := unix.Mmap(descriptor(f), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("mmap", err), f.Close())
	}
	return &shared{f, mem}, nil
}

// descriptor returns the descriptor of the memory, or -1 if there is none.
func (s *shared) descriptor() int {
	if s == nil {
		return -1
	}
	return descriptor(s.file)
}

func (s *shared) close() {
	_ = unix.Munmap(s.mem)
	_ = s.file.Close()
}

// SharedMemory returns the memory that the master and its children share, or nil without
// Options.SharedMemory. Accesses must be atomic or otherwise safe for several processes.
func (m *Master) SharedMemory() []byte {
	if m.supervisor.shared == nil {
		return nil
	}
	return m.supervisor.shared.mem
}

// SharedMemory returns the memory that this process shares with the master and its other
// children, or nil if there is none: the master was made without Options.SharedMemory, or is
// of an older release. See Master.SharedMemory.
func (c *Child) SharedMemory() []byte { return c.shared }

// inheritShared maps the shared memory, in a child.
func inheritShared() ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fdShared, &st); err != nil {
		return nil, fmt.Errorf("map shared memory: %w", os.NewSyscallError("fstat", err))
	}
	mem, err := unix.Mmap(fdShared, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", os.NewSyscallError("mmap", err))
	}
	return mem, unix.Close(fdShared)
}
