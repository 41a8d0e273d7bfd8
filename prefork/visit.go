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

// ErrNoProcess: there is no such slot, or it has no process.
var ErrNoProcess = errors.New("no such process")

// Visit connects to the current process of a slot, which accepts the connection
// from Child.Visits. Set a deadline on it: the process may never accept. The error
// wraps ErrNoProcess or ErrNotRunning, or is the system's.
func (m *Master) Visit(ctx context.Context, slot string) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	conn, err := newSocket(uintptr(pair[0]), slot)
	defer unix.Close(pair[1]) //nolint:errcheck // the child has its own
	if err != nil {
		return nil, err
	}
	if called := m.call(ctx, func() { err = m.slots.sendVisit(slot, pair[1]) }); called != nil {
		err = called
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("visit %s: %w", slot, err)
	}
	return conn.UnixConn, nil
}

// sendVisit sends a connection to a slot's current process.
func (t *slotTable) sendVisit(name string, fd int) error {
	s := t.find(name)
	if s == nil || s.current == nil {
		return ErrNoProcess
	}
	return s.current.control.Send(visitMessage, fd)
}

// visits are the connections from the master that a child has not accepted yet.
type visits struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

// maxVisits bounds the connections that wait to be accepted.
const maxVisits = 8

func newVisits() visits {
	closed := make(chan struct{})
	return visits{make(chan net.Conn, maxVisits), closed, sync.OnceFunc(func() { close(closed) })}
}

// announce queues a connection, or closes it if too many wait.
func (v visits) announce(conn net.Conn) {
	if conn == nil {
		return
	}
	select {
	case v.conns <- conn:
	default:
		_ = conn.Close()
	}
}

// Visits accepts the connections that Master.Visit makes to this process. Its
// address has no meaning.
func (c *Child) Visits() net.Listener { return c.visits }

// Accept implements net.Listener.
func (v visits) Accept() (net.Conn, error) {
	select {
	case conn := <-v.conns:
		return conn, nil
	case <-v.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (v visits) Close() error {
	v.close()
	return nil
}

// Addr implements net.Listener.
func (visits) Addr() net.Addr { return &net.UnixAddr{Name: "visits", Net: "unix"} }

// connFrom takes a connection out of a control message; nil if there is none.
func connFrom(rights []byte) net.Conn {
	fd := descriptorFrom(rights)
	if fd < 0 {
		return nil
	}
	conn, err := newSocket(uintptr(fd), "visit")
	if err != nil {
		return nil
	}
	return conn.UnixConn
}
