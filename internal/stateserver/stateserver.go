// Package stateserver is the store slot: a Redis-protocol server inside the program,
// for what processes of one machine share and may forget. It is miniredis, with
// its clock ticking and on a port of its own.
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
	"golang.org/x/sys/unix"
)

const (
	// tick is how often keys grow older: by themselves those of miniredis never
	// expire, and its own real-time mode looks at every key for each command. A key
	// may expire as much too early as it was set after a tick.
	tick = 100 * time.Millisecond
	// lastCalls is how often a leaving store looks whether anyone is still there.
	lastCalls = 20 * time.Millisecond
)

// Place is a port on loopback that is kept for a store while processes of it
// come and go.
type Place struct {
	Addr string
	fd   int
}

// Reserve keeps the port of addr, or finds a free one if addr is empty: the socket is bound and never
// listens, so nobody else gets the port, while processes of the same user may
// bind beside it (SO_REUSEPORT, socket(7)). Until one listens, connections are
// refused.
func Reserve(addr string) (*Place, error) {
	want := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if addr != "" {
		before, err := netip.ParseAddrPort(addr)
		if err != nil || before.Addr() != netip.AddrFrom4(want.Addr) {
			return nil, fmt.Errorf("reserve a port for the store: %q is no address on loopback", addr)
		}
		want.Port = int(before.Port())
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &Place{fd: fd}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err == nil {
		err = unix.Bind(fd, &want)
	}
	var at unix.Sockaddr
	if err == nil {
		at, err = unix.Getsockname(fd)
	}
	in4, ok := at.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("reserve a port for the store: %w", err), p.Release())
	}
	p.Addr = (&net.TCPAddr{IP: in4.Addr[:], Port: in4.Port}).String()
	return p, nil
}

// Release gives the port up.
func (p *Place) Release() error { return os.NewSyscallError("close", unix.Close(p.fd)) }

// Listen listens on the address of a Place.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(controlErr, err)
	}}
	ln, err := lc.Listen(ctx, "tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return ln, nil
}

// Serve answers clients that know the password, and takes ln over. When ctx has
// ended it goes on until the last client has left, at most grace: those who are
// about to leave still need it. It returns nil, or the error with which ln
// failed.
func Serve(ctx context.Context, ln net.Listener, password string, grace time.Duration) error {
	m := miniredis.NewMiniRedis()
	m.RequireAuth(password)
	probe, err := m.Dial() // starts it, without a listener of its own
	if err != nil {
		return errors.Join(fmt.Errorf("start the store: %w", err), ln.Close())
	}
	_ = probe.Close()
	defer m.Close() // waits for its goroutines

	var others sync.WaitGroup
	defer others.Wait()
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	others.Go(func() { age(over, m) })
	others.Go(func() { // ends with over, and ends the loop below
		defer ln.Close() //nolint:errcheck // it has been of no use since
		select {
		case <-over.Done():
		case <-ctx.Done():
			await(over, m, grace)
		}
	})
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a client of the store: %w", err)
		}
		m.Server().ServeConn(nc)
	}
}

// age lets time pass for the keys until over ends.
func age(over context.Context, m *miniredis.Miniredis) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-over.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		m.FastForward(now.Sub(last))
		last = now
	}
}

// await returns when no client is left, or the grace time is over.
func await(over context.Context, m *miniredis.Miniredis, grace time.Duration) {
	ticker := time.NewTicker(lastCalls)
	defer ticker.Stop()
	deadline := time.After(grace)
	for m.CurrentConnectionCount() > 0 {
		select {
		case <-over.Done():
			return
		case <-deadline:
			return
		case <-ticker.C:
		}
	}
}
