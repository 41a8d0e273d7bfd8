package server

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// ErrClientGone is the cause with which the contexts of Gone and Context end. A handler may return
// it: the Meter then gets status 499, and the client does not get the response.
var ErrClientGone = errors.New("client has gone away")

// statusClientGone is the status that nginx logs for a request whose client has closed
// the connection.
const statusClientGone = 499

// Gone returns a context that ends with the cause ErrClientGone when the client closes
// the connection, or its sending side, while the handler runs, and at the deadline of
// SetDeadline. fasthttp does not watch the connection meanwhile, and its ctx.Done is closed
// only when the server shuts down. stop must be called before the handler returns; the
// context of Context needs no stop. Watching costs two system calls and no goroutine.
// It contains the span of the request (see Options.TracerProvider). Outside of a Server the
// context ends only with stop.
func Gone(ctx *fasthttp.RequestCtx) (gone context.Context, stop func()) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return context.WithCancel(withSpan(ctx))
	}
	return c.newContext(withSpan(ctx))
}

// watch calls gone, once, when the client closes the connection or its sending side.
// gone must not block. stop must be called before the connection is closed. If the
// connection cannot be watched, gone is never called.
func (c *conn) watch(gone func()) (stop func()) {
	nothing := func() {}
	sc, ok := c.raw.(syscall.Conn)
	if !ok {
		return nothing
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nothing
	}
	var id uint64
	if raw.Control(func(fd uintptr) { id, err = c.srv.watcher.add(int(fd), gone) }) != nil || err != nil {
		return nothing
	}
	// An error means that the descriptor is closed and so no longer in the epoll set.
	return func() { _ = raw.Control(func(fd uintptr) { c.srv.watcher.remove(int(fd), id) }) }
}

// connWatcher is an epoll(7) set of the watched connections, for EPOLLRDHUP only. The Go
// runtime polls the epoll descriptor, so the goroutine that reads events does not occupy
// a thread while it waits.
type connWatcher struct {
	epoll *os.File
	done  sync.WaitGroup

	mu        sync.Mutex
	fd        int
	lastID    uint64
	callbacks map[uint64]func() // by id, not by descriptor, since the kernel reuses descriptors
}

// open starts the goroutine that reads events; close ends it.
func (w *connWatcher) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fd, w.callbacks = fd, make(map[uint64]func())
	w.epoll = os.NewFile(uintptr(fd), "watched connections")
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		_ = w.epoll.Close()
		return err
	}
	w.done.Go(func() {
		events := make([]unix.EpollEvent, 128)
		_ = raw.Read(func(fd uintptr) bool { // returns when the set is closed
			for {
				n, err := unix.EpollWait(int(fd), events, 0)
				if errors.Is(err, unix.EINTR) {
					continue
				}
				if n <= 0 {
					return false // wait for the next event
				}
				w.notify(events[:n])
			}
		})
	})
	return nil
}

func (w *connWatcher) close() {
	w.mu.Lock()
	w.callbacks = nil
	w.mu.Unlock()
	_ = w.epoll.Close()
	w.done.Wait()
}

func (w *connWatcher) add(fd int, gone func()) (id uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callbacks == nil {
		return 0, os.ErrClosed
	}
	w.lastID++
	id = w.lastID
	e := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
	if err := unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return 0, os.NewSyscallError("epoll_ctl", err)
	}
	w.callbacks[id] = gone
	return id, nil
}

func (w *connWatcher) remove(fd int, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callbacks == nil {
		return
	}
	delete(w.callbacks, id)
	_ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

// notify calls the callback of each connection in events.
func (w *connWatcher) notify(events []unix.EpollEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
		if gone, ok := w.callbacks[id]; ok {
			gone()
		}
	}
}
