package prefork

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/testutil"
)

// newUnopenedListener makes a listener with one socket, on which open was not called. fd
// is a copy of the socket.
func newUnopenedListener(t *testing.T) (l *listener, fd int) {
	t.Helper()
	fds, _, err := listenGroup("127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds) })
	own, err := net.FileListener(dupFile(t, fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	l = newListener("serve.0", own, &Counters{})
	t.Cleanup(func() { _ = l.Close() })
	return l, fds[0]
}

func dupFile(t *testing.T, fd int) *os.File {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), "listener")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Before open, a listener leaves the connections in the accept queue.
func TestListenerAcceptsNothingBeforeOpen(t *testing.T) {
	l, fd := newUnopenedListener(t)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make(chan error, 1)
	go func() { // ends with the connection
		c, err := l.Accept()
		if err == nil {
			_ = c.Close()
		}
		got <- err
	}()
	testutil.Eventually(t, "the connection is in the accept queue", func() bool { return acceptQueue(fd) == 1 })
	select {
	case err := <-got:
		t.Fatalf("Accept returned before open: %v", err)
	default:
	}
	l.open()
	l.open() // has no effect
	if err := <-got; err != nil {
		t.Error(err)
	}
	testutil.Eventually(t, "the queue is empty", func() bool { return acceptQueue(fd) == 0 })
	if n := l.counters.accepted.Load(); n != 1 {
		t.Errorf("%d accepted", n)
	}
}

// Accept returns connections after Close that were accepted before.
func TestListenerAcceptAfterClose(t *testing.T) {
	l, fd := newUnopenedListener(t)
	l.open()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	testutil.Eventually(t, "accepted", func() bool { return l.counters.accepted.Load() == 1 && acceptQueue(fd) == 0 })
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the last connection: %v; want net.ErrClosed", err)
	}
}

func TestListenerClosedBeforeOpen(t *testing.T) {
	l, _ := newUnopenedListener(t)
	_ = l.Close()
	l.open()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
