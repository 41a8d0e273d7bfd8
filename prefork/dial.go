package prefork

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNoProcess: there is no slot of that name, or it has no process.
var ErrNoProcess = errors.New("no such process")

// Dial connects to the current process of a slot, which accepts the connection
// from Child.MasterListener. Set a deadline on the connection: the process may
// never accept it. The error wraps ErrNoProcess, ErrNotRunning or the system's
// error, or is the cause of ctx if that ends first.
func (m *Master) Dial(ctx context.Context, slot string) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	conn, err := newSocket(uintptr(pair[0]), slot)
	defer unix.Close(pair[1]) //nolint:errcheck // the child has a copy
	if err != nil {
		return nil, err
	}
	if callErr := m.call(ctx, func() { err = m.slots.sendConn(slot, pair[1]) }); callErr != nil {
		err = callErr
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", slot, err)
	}
	return conn.UnixConn, nil
}

// sendConn passes a connection to the current process of a slot.
func (t *slotTable) sendConn(slot string, fd int) error {
	s := t.find(slot)
	if s == nil || s.current == nil {
		return ErrNoProcess
	}
	return s.current.control.Send(dialMessage, fd)
}

// maxPendingConns is the maximum number of connections from the master that the child has
// not accepted yet.
const maxPendingConns = 8

// masterListener accepts the connections that the master makes to a child.
type masterListener struct {
	pending chan net.Conn
	closed  chan struct{}
	close   func()
}

func newMasterListener() masterListener {
	closed := make(chan struct{})
	return masterListener{make(chan net.Conn, maxPendingConns), closed, sync.OnceFunc(func() { close(closed) })}
}

// deliver queues a connection for Accept, or closes it if the queue is full.
func (l masterListener) deliver(conn net.Conn) {
	if conn == nil {
		return
	}
	select {
	case l.pending <- conn:
	default:
		_ = conn.Close()
	}
}

// MasterListener accepts the connections that Master.Dial makes to this process.
// Its address has no meaning.
func (c *Child) MasterListener() net.Listener { return c.fromMaster }

// Accept implements net.Listener.
func (l masterListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.pending:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l masterListener) Close() error {
	l.close()
	return nil
}

// Addr implements net.Listener.
func (masterListener) Addr() net.Addr { return &net.UnixAddr{Name: "master", Net: "unix"} }

// connFrom returns the connection in a control message, or nil if there is none.
func connFrom(rights []byte) net.Conn {
	fd := descriptorFrom(rights)
	if fd < 0 {
		return nil
	}
	conn, err := newSocket(uintptr(fd), "master")
	if err != nil {
		return nil
	}
	return conn.UnixConn
}
