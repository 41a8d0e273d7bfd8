package prefork

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// listener accepts, once it is opened, from the slot's own socket and from those
// of siblings that do not accept at the moment. To a server it is one
// net.Listener.
type listener struct {
	slot     string
	addr     net.Addr
	counters *Counters
	conns    chan acceptResult
	drained  chan struct{} // closed when Close was called and nothing accepted is left

	mu        sync.Mutex
	sockets   map[string]net.Listener // by slot
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
		conns: make(chan acceptResult), drained: make(chan struct{}), sockets: map[string]net.Listener{},
	}
	l.add(slot, own)
	return l
}

// listen makes a net.Listener of a descriptor, which it takes over.
func listenerFromFD(fd uintptr) (net.Listener, error) {
	f := os.NewFile(fd, "listener")
	if f == nil {
		return nil, errors.New("no such descriptor")
	}
	defer f.Close() //nolint:errcheck // FileListener has its own copy
	return net.FileListener(f)
}

// add accepts from a slot's socket, too.
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

// open begins to accept.
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

// remove stops accepting from a slot's socket. What was accepted is served.
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
		case errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EINVAL): // shut down by the master
			return
		case err == nil && slot == l.slot:
			l.counters.accepted.Add(1)
		case err == nil:
			l.counters.adopted.Add(1)
		}
		l.conns <- acceptResult{conn, err}
	}
}

// Accept returns the next connection, also after Close as long as one is left
// that had been accepted by then; only then net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.conns:
		return a.conn, a.err
	case <-l.drained:
		return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close closes this process's copies of all sockets; those of the master stay
// open. It may be called more than once.
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
	go func() { // ends when Accept has handed out what was accepted
		l.acceptors.Wait()
		close(l.drained)
	}()
	return err
}

// Addr is the address of the slot's own socket.
func (l *listener) Addr() net.Addr { return l.addr }
