package prefork

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// listener is a net.Listener that accepts from several sockets: the slot's own socket, and
// the sockets that the slot has adopted from other slots. It accepts nothing before open.
type listener struct {
	slot     string
	addr     net.Addr
	counters *Counters
	results  chan acceptResult
	drained  chan struct{} // closed after Close, when all accepted connections are handed out

	mu        sync.Mutex
	sockets   map[string]net.Listener // by slot name
	opened    bool
	closed    bool
	acceptors sync.WaitGroup
}

// acceptResult is the result of an accept(2).
type acceptResult struct {
	conn net.Conn
	err  error
}

func newListener(slot string, own net.Listener, counters *Counters) *listener {
	l := &listener{
		slot: slot, addr: own.Addr(), counters: counters,
		results: make(chan acceptResult), drained: make(chan struct{}), sockets: map[string]net.Listener{},
	}
	l.add(slot, own)
	return l
}

// listenerFromFD makes a net.Listener of a descriptor, and closes the descriptor.
func listenerFromFD(fd uintptr) (net.Listener, error) {
	f := os.NewFile(fd, "listener")
	if f == nil {
		return nil, errors.New("no such descriptor")
	}
	defer f.Close() //nolint:errcheck // FileListener has its own copy
	return net.FileListener(f)
}

// add starts to accept from the socket of another slot. It closes the socket if
// the listener is closed or has a socket of that slot already.
func (l *listener) add(slot string, socket net.Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, have := l.sockets[slot]; have || l.closed {
		_ = socket.Close()
		return
	}
	l.sockets[slot] = socket
	if l.opened {
		l.acceptors.Go(func() { l.accept(slot, socket) }) // ends when socket is closed
	}
}

// open starts to accept from all sockets.
func (l *listener) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened || l.closed {
		return
	}
	l.opened = true
	for slot, socket := range l.sockets {
		l.acceptors.Go(func() { l.accept(slot, socket) }) // ends when socket is closed
	}
}

// remove stops accepting from the socket of a slot. Connections that were accepted
// before are still returned by Accept.
func (l *listener) remove(slot string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if socket := l.sockets[slot]; socket != nil {
		_ = socket.Close()
		delete(l.sockets, slot)
	}
}

func (l *listener) accept(slot string, socket net.Listener) {
	for {
		conn, err := socket.Accept()
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EINVAL): // EINVAL: the master has shut the socket down
			return
		case err == nil && slot == l.slot:
			l.counters.accepted.Add(1)
		case err == nil:
			l.counters.adopted.Add(1)
		}
		l.results <- acceptResult{conn, err}
	}
}

// Accept returns the next connection. After Close it returns the connections that
// were accepted before, and then an error that wraps net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case r := <-l.results:
		return r.conn, r.err
	case <-l.drained:
		return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close closes this process's copies of all sockets. The copies in the master stay
// open. Close may be called more than once.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	for _, socket := range l.sockets {
		err = errors.Join(err, socket.Close())
	}
	go func() { // ends when Accept has returned the last accepted connection
		l.acceptors.Wait()
		close(l.drained)
	}()
	return err
}

// Addr is the address of the slot's own socket.
func (l *listener) Addr() net.Addr { return l.addr }
