package prefork

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// ListenPersistent opens a listening socket for the master itself, in addition to the
// sockets of the slots. The socket stays open during a reload. If the previous master
// had a socket with the same network and address, it is taken over. network is "tcp"
// or "unix". Errors are those of net.Listen.
func (m *Master) ListenPersistent(ctx context.Context, network, address string) (net.Listener, error) {
	return m.parked.listen(ctx, network, address)
}

// parkedListeners are the master's own listening sockets. After a reload the new
// master takes over the sockets that it still needs, and closes the others.
type parkedListeners struct {
	open      map[string]net.Listener // by network and address, such as "tcp 127.0.0.1:9090"
	inherited map[string]int          // descriptors that are not taken over yet, by network and address
}

// listen takes over the inherited socket of an address, or opens a new one.
func (l *parkedListeners) listen(ctx context.Context, network, address string) (net.Listener, error) {
	name := network + " " + address
	ln, err := l.claim(name)
	if ln == nil && err == nil {
		ln, err = new(net.ListenConfig).Listen(ctx, network, address)
		if errors.Is(err, unix.EADDRINUSE) && l.closeUnclaimed() { // an inherited socket may have used the address
			ln, err = new(net.ListenConfig).Listen(ctx, network, address)
		}
	}
	if err != nil {
		return nil, err
	}
	l.open[name] = ln
	return ln, nil
}

// claim takes over an inherited socket. It returns nil if there is none of that name.
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

// closeUnclaimed closes the inherited sockets that were not taken over, and reports
// whether there were any.
func (l *parkedListeners) closeUnclaimed() bool {
	found := len(l.inherited) > 0
	for name := range l.inherited {
		if ln, err := l.claim(name); err == nil {
			_ = ln.Close() // this removes the file of a Unix socket
		}
	}
	return found
}

// descriptors returns the descriptors of the open sockets, by network and address.
func (l *parkedListeners) descriptors() map[string]int {
	fds := map[string]int{}
	for name, ln := range l.open {
		fds[name] = descriptor(ln)
	}
	return fds
}
