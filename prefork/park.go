package prefork

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// ListenPersistent binds a listening socket of the master's own, in addition to those
// of the slots; it stays open over a reload. network is "tcp" or "unix".
func (m *Master) ListenPersistent(ctx context.Context, network, address string) (net.Listener, error) {
	return m.parked.listen(ctx, network, address)
}

// parkedListeners are the master's own listening sockets. After a reload the
// new master claims those it still wants and closes the others.
type parkedListeners struct {
	open      map[string]net.Listener // by network and address
	inherited map[string]int          // descriptors not yet claimed
}

// listen claims the inherited socket of that address, or binds a new one.
func (l *parkedListeners) listen(ctx context.Context, network, address string) (net.Listener, error) {
	name := network + " " + address
	ln, err := l.claim(name)
	if ln == nil && err == nil {
		ln, err = new(net.ListenConfig).Listen(ctx, network, address)
		if errors.Is(err, unix.EADDRINUSE) && l.closeUnclaimed() { // it may have been by one of our own
			ln, err = new(net.ListenConfig).Listen(ctx, network, address)
		}
	}
	if err != nil {
		return nil, err
	}
	l.open[name] = ln
	return ln, nil
}

// claim takes over an inherited socket; nil if there is none of that name.
func (l *parkedListeners) claim(name string) (net.Listener, error) {
	fd, ok := l.inherited[name]
	if !ok {
		return nil, nil
	}
	delete(l.inherited, name)
	ln, err := listenerFromFD(uintptr(fd))
	if u, ok := ln.(*net.UnixListener); ok && err == nil {
		u.SetUnlinkOnClose(true)
	}
	return ln, err
}

// closeUnclaimed closes the inherited sockets that were not claimed, and
// reports whether there was any.
func (l *parkedListeners) closeUnclaimed() bool {
	some := len(l.inherited) > 0
	for name := range l.inherited {
		if ln, err := l.claim(name); err == nil {
			_ = ln.Close() // a Unix socket's file, too
		}
	}
	return some
}

// descriptors are those of the open sockets, by name.
func (l *parkedListeners) descriptors() map[string]int {
	fds := map[string]int{}
	for name, ln := range l.open {
		fds[name] = descriptor(ln)
	}
	return fds
}
