// Package stateserver is the embedded state server: a server inside the program that
// speaks the Redis protocol. The processes of one machine share state in it. The state is
// lost when the process of the server exits. It is based on miniredis; this package adds the expiry of keys in real time, and a
// port that is reserved while the server's process is replaced.
package stateserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"golang.org/x/sys/unix"
)

const (
	// expiryInterval is the least time between two updates of the expiry of all keys.
	// miniredis does not expire keys by itself, and its real-time mode checks all keys
	// at each command. A key may expire too early, by the time between the last update
	// and the command that set it. That is at most one interval. An update reads and
	// sorts all keys, which takes 50 to 100 ms for 100,000 keys, so the interval grows with
	// their number, up to maxExpiryInterval.
	expiryInterval    = 100 * time.Millisecond
	maxExpiryInterval = 500 * time.Millisecond
	// drainInterval is the time between two checks whether clients are still
	// connected, while the server drains.
	drainInterval = 20 * time.Millisecond
)

// Reservation is a reserved port on the loopback interface. The port stays reserved while
// the process that listens on it is replaced.
type Reservation struct {
	Addr string // host:port
	fd   int
}

// Reserve reserves the port of addr (host:port), or a free port if addr is empty. It binds
// a socket to the port and does not listen on it. Until Release, processes of other users
// cannot bind to the port. Processes of the same user can, with SO_REUSEPORT (socket(7)).
// Connections are refused while no process listens.
func Reserve(addr string) (*Reservation, error) {
	want := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if addr != "" {
		given, err := netip.ParseAddrPort(addr)
		if err != nil || given.Addr() != netip.AddrFrom4(want.Addr) {
			return nil, fmt.Errorf("reserve a port for the embedded state server: %q is not an address on 127.0.0.1", addr)
		}
		want.Port = int(given.Port())
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r := &Reservation{fd: fd}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err == nil {
		err = unix.Bind(fd, &want)
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	in4, ok := bound.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("reserve a port for the embedded state server: %w", err), r.Release())
	}
	r.Addr = (&net.TCPAddr{IP: in4.Addr[:], Port: in4.Port}).String()
	return r, nil
}

// Release frees the port.
func (r *Reservation) Release() error { return os.NewSyscallError("close", unix.Close(r.fd)) }

// Listen listens on the address of a Reservation.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(controlErr, err)
	}}
	ln, err := lc.Listen(ctx, "tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for clients of the embedded state server: %w", err)
	}
	return ln, nil
}

// Serve serves clients that authenticate with the password, and closes ln at the end.
// When ctx ends, Serve continues until all clients have disconnected, for grace at most,
// because other processes need the server while they drain. It then returns nil. The error
// says that the server could not start, or is the error of ln if ln fails before ctx ends.
func Serve(ctx context.Context, ln net.Listener, password string, grace time.Duration) error {
	m := miniredis.NewMiniRedis()
	m.RequireAuth(password)
	probe, err := m.Dial() // starts miniredis without a listener
	if err != nil {
		return errors.Join(fmt.Errorf("start the embedded state server: %w", err), ln.Close())
	}
	_ = probe.Close()
	defer m.Close() // waits for its goroutines

	var others sync.WaitGroup
	defer others.Wait()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	others.Go(func() { // ends with serving; closing ln ends the loop below
		defer ln.Close() //nolint:errcheck // it is not used any more
		select {
		case <-serving.Done():
		case <-ctx.Done():
			drain(serving, m, grace)
		}
	})
	keys := &expiry{server: m, last: time.Now()}
	m.Server().SetPreHook((&channels{keys: keys, password: password, peers: map[*server.Peer]bool{}}).handle)
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a client of the embedded state server: %w", err)
		}
		m.Server().ServeConn(client{nc, keys})
	}
}

// expiry advances the clock of the keys when a client has sent something. While all clients
// are silent, nobody can notice that a key is still there, and the process sleeps.
type expiry struct {
	server *miniredis.Miniredis
	mu     sync.Mutex
	last   time.Time     // time of the last update
	pause  time.Duration // least time until the next one
}

func (e *expiry) update() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if passed := now.Sub(e.last); passed >= e.pause {
		e.server.FastForward(passed)
		e.last, e.pause = now, min(max(expiryInterval, 19*time.Since(now)), maxExpiryInterval)
	}
}

// client is a connection that updates the expiry before the server sees a command. A hook of
// miniredis would not do: it also runs for the commands of a script, with the lock that the
// update needs.
type client struct {
	net.Conn
	keys *expiry
}

func (c client) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.keys.update()
	return n, err
}

// drain returns when all clients have disconnected, grace has passed, or ctx ends.
func drain(ctx context.Context, m *miniredis.Miniredis, grace time.Duration) {
	ticker := time.NewTicker(drainInterval)
	defer ticker.Stop()
	deadline := time.After(grace)
	for m.CurrentConnectionCount() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-deadline:
			return
		case <-ticker.C:
		}
	}
}
