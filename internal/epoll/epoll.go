// Package epoll waits for events of many file descriptors on one goroutine, with epoll(7).
//
// The Go runtime has an epoll set of its own, but it wakes a goroutine for each
// descriptor. With a Set, a connection that waits needs no goroutine.
package epoll

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Events of Watch. Errors and the end of both directions are always reported too.
const (
	Readable   = unix.EPOLLIN    // there are bytes to read, or the end of the stream
	PeerClosed = unix.EPOLLRDHUP // the peer has closed the connection or its sending side
)

// Set is an epoll set. Make one with Open. Its methods may be called from any goroutine.
type Set struct {
	file *os.File // the runtime polls it, so Run does not occupy a thread while it waits

	mu     sync.Mutex
	fd     int
	closed bool
}

// Open makes an empty set. The error is that of epoll_create1(2) or fcntl(2).
func Open() (*Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Set{file: os.NewFile(uintptr(fd), "epoll set"), fd: fd}, nil
}

// Watch waits for one of the events of a descriptor. Run reports only the first one, with id;
// then Watch must be called again. The caller must not use an id twice: after a descriptor
// was closed, the kernel may give its number to another file, and the id tells them apart.
// The kernel removes a closed descriptor from the set. After Close the error is os.ErrClosed.
func (s *Set) Watch(fd int, events uint32, id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	e := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
	err := unix.EpollCtl(s.fd, unix.EPOLL_CTL_MOD, fd, &e)
	if errors.Is(err, unix.ENOENT) {
		err = unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &e)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// Forget removes a descriptor, which must be open. An event that Run has read already is
// still reported.
func (s *Set) Forget(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_ = unix.EpollCtl(s.fd, unix.EPOLL_CTL_DEL, fd, nil) // fails if it is not in the set
	}
}

// Run calls handle with the ids of descriptors that have an event, until Close. It must be
// called only once.
func (s *Set) Run(handle func(ids []uint64)) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 128)
	ids := make([]uint64, 0, len(events))
	_ = raw.Read(func(fd uintptr) bool { // returns when the set is closed
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n <= 0 {
				return false // wait for the next event
			}
			ids = ids[:0]
			for _, e := range events[:n] {
				ids = append(ids, uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32)
			}
			handle(ids)
		}
	})
	return nil
}

// Close ends Run, after a call of handle that is in progress.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.file.Close()
}
