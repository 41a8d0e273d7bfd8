package prefork

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/testutil"
)

// newUnopenedListener makes a listener on one socket of its own, not yet opened.
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

// Until it is opened a listener leaves connections to others: its process may
// never get ready.
func TestListenerWaitsUntilItIsOpened(t *testing.T) {
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
	testutil.Eventually(t, "the connection waits", func() bool { return acceptQueue(fd) == 1 })
	select {
	case err := <-got:
		t.Fatalf("accepted, %v", err)
	default:
	}
	l.open()
	l.open() // once is enough
	if err := <-got; err != nil {
		t.Error(err)
	}
	testutil.Eventually(t, "the queue is empty", func() bool { return acceptQueue(fd) == 0 })
	if n := l.counters.accepted.Load(); n != 1 {
		t.Errorf("%d accepted", n)
	}
}

// What was accepted before Close is returned after it.
func TestListenerHandsOutWhatItHasAccepted(t *testing.T) {
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
		t.Errorf("at the end: %v", err)
	}
}

func TestListenerThatIsClosedUnopened(t *testing.T) {
	l, _ := newUnopenedListener(t)
	_ = l.Close()
	l.open()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
