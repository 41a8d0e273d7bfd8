package prefork

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// arrivals wakes an idle master at the next connection, so that it need not look often.
type arrivals struct {
	sys       *system
	listeners []int           // those that are watched
	arrived   <-chan struct{} // receives once; nil while nothing is watched
	stop      func()
}

// begin watches listeners until end. If that fails, the master sees a connection when it
// checks next.
func (a *arrivals) begin(listeners []int) {
	if a.arrived != nil && slices.Equal(a.listeners, listeners) {
		return
	}
	a.end()
	if len(listeners) == 0 {
		return
	}
	if arrived, stop, err := a.sys.awaitConnection(listeners); err == nil {
		a.listeners, a.arrived, a.stop = listeners, arrived, stop
	}
}

func (a *arrivals) end() {
	if a.stop != nil {
		a.stop()
	}
	a.listeners, a.arrived, a.stop = nil, nil, nil
}

// awaitConnection waits with an epoll(7) of its own, which only exists while the master is
// idle. In the poller of the Go runtime each connection of a busy server would wake the
// master. The poller waits for the epoll itself, which is a descriptor too.
func awaitConnection(listeners []int) (<-chan struct{}, func(), error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("epoll_create1", err)
	}
	err = unix.SetNonblock(epoll, true) // so that the poller of the runtime waits for it
	for _, fd := range listeners {
		err = errors.Join(err, unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}))
	}
	file := os.NewFile(uintptr(epoll), "arrivals")
	raw, rawErr := file.SyscallConn()
	if err = errors.Join(err, rawErr); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	arrived := make(chan struct{}, 1)
	go func() { // ends with the first connection, or when the file is closed
		err := raw.Read(func(fd uintptr) bool {
			n, err := unix.EpollWait(int(fd), make([]unix.EpollEvent, 1), 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err == nil {
			arrived <- struct{}{}
		}
	}()
	return arrived, func() { _ = file.Close() }, nil
}
