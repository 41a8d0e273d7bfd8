package epoll_test

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/epoll"
	"github.com/galeserver/gale/internal/testutil"
)

// reported are the ids that a Set has reported.
type reported struct {
	mu  sync.Mutex
	ids []uint64
}

func (r *reported) add(ids []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, ids...)
}

func (r *reported) is(want ...uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Equal(r.ids, want)
}

func open(t *testing.T) (*epoll.Set, *reported) {
	t.Helper()
	s, err := epoll.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := new(reported)
	done := make(chan error, 1)
	go func() { done <- s.Run(r.add) }() // ends with Close
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, r
}

// pair returns connected sockets. The first one has the descriptor at, if at is not 0.
func pair(t *testing.T, at int) (watched, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil && at != 0 && fds[0] != at {
		err = errors.Join(unix.Dup3(fds[0], at, unix.O_CLOEXEC), unix.Close(fds[0]))
		fds[0] = at
	}
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func send(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func closeAll(t *testing.T, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

// Each Watch reports one event, also if the bytes arrived before. Ids may need 64 bits.
func TestWatch(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	fd, peer := pair(t, 0)
	defer closeAll(t, fd)
	const first, second, third = 1, 1<<63 | 2, 1<<32 - 1
	send(t, peer)
	for _, w := range []struct {
		id   uint64
		want []uint64
	}{{first, []uint64{first}}, {second, []uint64{first, second}}} {
		if err := s.Watch(fd, epoll.Readable, w.id); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "one event", func() bool { return r.is(w.want...) })
		send(t, peer) // not reported, until Watch is called again
	}
	if err := s.Watch(fd, epoll.PeerClosed, third); err != nil {
		t.Fatal(err)
	}
	closeAll(t, peer)
	testutil.Eventually(t, "the end of the stream", func() bool { return r.is(first, second, third) })
}

// A descriptor is closed while it is watched, and another socket gets its number. Its bytes
// are reported only with the id of its own Watch.
func TestDescriptorOfAnotherSocket(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	old, oldPeer := pair(t, 0)
	if err := s.Watch(old, epoll.Readable, 1); err != nil {
		t.Fatal(err)
	}
	// The runtime opens no file with this number: Dup3 takes it without a gap.
	fd, peer := pair(t, old)
	defer closeAll(t, fd, peer, oldPeer)
	send(t, peer)
	other, otherPeer := pair(t, 0)
	defer closeAll(t, other, otherPeer)
	send(t, otherPeer)
	if err := s.Watch(other, epoll.Readable, 2); err != nil { // its event comes after that of old, if there were one
		t.Fatal(err)
	}
	testutil.Eventually(t, "an event", func() bool { return !r.is() })
	if !r.is(2) {
		t.Fatalf("reported %v, want the id 2", r.ids)
	}
	if err := s.Watch(fd, epoll.Readable, 3); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the event of the new socket", func() bool { return r.is(2, 3) })
}

func TestForget(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	fd, peer := pair(t, 0)
	defer closeAll(t, fd, peer)
	for id := uint64(1); id <= 2; id++ { // a forgotten descriptor can be watched again
		s.Forget(fd)
		if err := s.Watch(fd, epoll.Readable, id); err != nil {
			t.Fatal(err)
		}
	}
	send(t, peer)
	testutil.Eventually(t, "the event", func() bool { return r.is(2) })
}

func TestWatchFails(t *testing.T) {
	t.Parallel()
	s, err := epoll.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Watch(-1, epoll.Readable, 1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Watch(0, epoll.Readable, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed set: %v", err)
	}
	s.Forget(0) // does nothing
}
