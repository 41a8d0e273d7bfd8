package server

import (
	"context"
	"errors"
	"net"
	"os"
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

// connWatcher calls functions when clients close their connections.
type connWatcher struct {
	set  *epoll.Set
	done sync.WaitGroup

	mu        sync.Mutex
	lastID    uint64
	callbacks map[uint64]func() // by id; nil before open and after close
}

// open starts the goroutine that reads events; close ends it.
func (w *connWatcher) open() error {
	set, err := epoll.Open()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set, w.callbacks = set, make(map[uint64]func())
	w.done.Go(func() { _ = set.Run(w.notify) }) // ends with close
	return nil
}

func (w *connWatcher) close() {
	w.mu.Lock()
	w.callbacks = nil
	w.mu.Unlock()
	_ = w.set.Close()
	w.done.Wait()
}

// watch calls gone, once, when the client closes the connection of a socket or its sending
// side. gone must not block. stop must be called before the connection is closed. If the
// connection cannot be watched, gone is never called.
func (w *connWatcher) watch(socket net.Conn, gone func()) (stop func()) {
	nothing := func() {}
	sc, ok := socket.(syscall.Conn)
	if !ok {
		return nothing
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nothing
	}
	var id uint64
	if raw.Control(func(fd uintptr) { id, err = w.add(int(fd), gone) }) != nil || err != nil {
		return nothing
	}
	// An error means that the descriptor is closed and so no longer in the epoll set.
	return func() { _ = raw.Control(func(fd uintptr) { w.remove(int(fd), id) }) }
}

func (w *connWatcher) add(fd int, gone func()) (id uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callbacks == nil {
		return 0, os.ErrClosed
	}
	w.lastID++
	if err := w.set.Watch(fd, epoll.PeerClosed, w.lastID); err != nil {
		return 0, err
	}
	w.callbacks[w.lastID] = gone
	return w.lastID, nil
}

func (w *connWatcher) remove(fd int, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callbacks == nil {
		return
	}
	delete(w.callbacks, id)
	w.set.Forget(fd)
}

// notify calls the callbacks of the connections that have an event.
func (w *connWatcher) notify(ids []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if gone, ok := w.callbacks[id]; ok {
			gone()
		}
	}
}
