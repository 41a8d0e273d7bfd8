package server

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/epoll"
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
// context of Context needs no stop. Watching costs no goroutine, and two system calls for the
// first request of a connection that is watched.
// It contains the span of the request (see Options.TracerProvider). Outside of a Server the
// context ends only with stop.
func Gone(ctx *fasthttp.RequestCtx) (gone context.Context, stop func()) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return context.WithCancel(withSpan(ctx))
	}
	return c.newContext(withSpan(ctx))
}

// connWatcher calls functions when clients close their connections.
type connWatcher struct {
	set  *epoll.Set
	done sync.WaitGroup

	mu     sync.Mutex
	lastID uint64
	conns  map[uint64]*watchedConn // by id; nil before open and after close
}

// watchedConn is the part of a connection that belongs to a connWatcher. From the first watch
// on, the connection stays in the epoll set, so that the requests after it cost no system
// call. The zero value is ready for use. The mutex of the connWatcher protects it.
type watchedConn struct {
	id      uint64    // 0 before the first watch
	armed   bool      // the epoll set reports the next event
	waiting []*func() // what to call
}

// open starts the goroutine that reads events; close ends it.
func (w *connWatcher) open() error {
	set, err := epoll.Open()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set, w.conns = set, make(map[uint64]*watchedConn)
	w.done.Go(func() { _ = set.Run(w.notify) }) // ends with close
	return nil
}

func (w *connWatcher) close() {
	w.mu.Lock()
	w.conns = nil
	w.mu.Unlock()
	_ = w.set.Close()
	w.done.Wait()
}

// watch calls gone, once, when the client closes the connection of a socket or its sending
// side. gone must not block. After stop it is not called. forget must be called before the
// connection is closed. If the connection cannot be watched, gone is never called.
func (w *connWatcher) watch(c *watchedConn, socket net.Conn, gone func()) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil || !c.armed && !w.arm(c, socket) {
		return func() {}
	}
	c.waiting = append(c.waiting, &gone)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		c.waiting = slices.DeleteFunc(c.waiting, func(f *func()) bool { return f == &gone })
	}
}

// arm makes the epoll set report the next event of a connection.
func (w *connWatcher) arm(c *watchedConn, socket net.Conn) bool {
	if c.id == 0 {
		w.lastID++
		c.id = w.lastID
	}
	c.armed = control(socket, func(fd int) error { return w.set.Watch(fd, epoll.PeerClosed, c.id) }) == nil
	if c.armed {
		w.conns[c.id] = c
	}
	return c.armed
}

// forget removes a connection, which must not be closed yet.
func (w *connWatcher) forget(c *watchedConn, socket net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil || c.id == 0 {
		return
	}
	delete(w.conns, c.id)
	// An error means that the descriptor is closed and so no longer in the epoll set.
	_ = control(socket, func(fd int) error { w.set.Forget(fd); return nil })
	*c = watchedConn{}
}

// control calls f with the descriptor of a socket.
func control(socket net.Conn, f func(fd int) error) error {
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	closed := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(closed, err)
}

// notify calls the functions of the connections that have an event.
func (w *connWatcher) notify(ids []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		c := w.conns[id]
		if c == nil {
			continue
		}
		c.armed = false
		for _, gone := range c.waiting {
			(*gone)()
		}
		c.waiting = nil
	}
}
