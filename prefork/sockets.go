package prefork

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// Listen binds the sockets of the role that listens, or takes those that
// systemd or the previous master has handed over, and returns the address, with
// the port the kernel chose if it was 0. It returns nil if no role listens.
// Errors wrap the system's: syscall.EADDRINUSE, syscall.EACCES.
func (m *Master) Listen() (net.Addr, error) {
	if m.resumed == nil {
		if err := m.sockets.bind(m.opt.Address, m.slots.listening()); err != nil {
			return nil, err
		}
	}
	if m.sockets.address == nil {
		return nil, nil
	}
	return m.sockets.address, nil
}

// sockets are the listening sockets of the slots: a SO_REUSEPORT group with one
// for each slot, or a single one that all slots share.
type sockets struct {
	sys         *system
	address     *net.TCPAddr // nil: there are none
	fromSystemd bool         // they came from systemd
	shared      bool         // there is one, for all
	group       []*slot      // slots with a socket of their own, in the order of listen(2)
}

// bind gives every slot its socket.
func (l *sockets) bind(address string, slots []*slot) error {
	if len(slots) == 0 {
		return nil
	}
	var fds []int
	var err error
	switch {
	case l.shared:
		fds, l.address, err = inheritSystemdSockets(1)
	case l.fromSystemd:
		fds, l.address, err = inheritSystemdSockets(len(slots))
	default:
		fds, l.address, err = listenGroup(address, len(slots))
	}
	if err != nil {
		return err
	}
	for i, s := range slots {
		s.listener = fds[min(i, len(fds)-1)]
	}
	if !l.shared {
		l.group = slots
	}
	return nil
}

// resume takes over the socket of a slot from the previous master.
func (l *sockets) resume(s *slot) {
	if s.listener < 0 {
		return
	}
	unix.CloseOnExec(s.listener)
	if addr, err := boundTo(s.listener); err == nil {
		l.address = addr
	}
	if !l.shared {
		l.group = append(l.group, s)
	}
}

// join gives a new slot a socket: another one of the group, or the one that
// sibling has if all share it.
func (l *sockets) join(s, sibling *slot) error {
	switch {
	case l.shared:
		s.listener = sibling.listener
		return nil
	case l.fromSystemd:
		return errors.New("the sockets were handed over, and their number is fixed")
	}
	fd, err := listenOne(l.address, true)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l.address, err)
	}
	s.listener = fd
	l.group = append(l.group, s)
	return nil
}

// hasOwnSocket reports whether the slot has a socket that no other slot uses.
func (l *sockets) hasOwnSocket(s *slot) bool { return s.listener >= 0 && !l.shared }

// fixedCount reports whether the number of sockets from systemd determines how many
// slots the role has.
func (l *sockets) fixedCount(role Role) bool { return role.Listens && l.fromSystemd && !l.shared }

// acceptQueue is how many connections wait in the slot's own socket. The queue of a
// shared one is no sign for a single slot.
func (l *sockets) acceptQueue(s *slot) int {
	if !l.hasOwnSocket(s) {
		return 0
	}
	return l.sys.acceptQueue(s.listener)
}

// isLast reports whether the slot's socket is the last of the group. Closing
// another one would renumber those after it.
func (l *sockets) isLast(s *slot) bool { return len(l.group) > 0 && s == l.group[len(l.group)-1] }

// closeLast closes the last socket of the group.
func (l *sockets) closeLast() {
	s := l.group[len(l.group)-1]
	l.group = slices.Delete(l.group, len(l.group)-1, len(l.group))
	// Not only this copy: while a stopped child or adopter has one, the socket
	// would keep its place in the group, and the next slot get another number.
	if !l.fromSystemd { // systemd uses its own again
		_ = unix.Shutdown(s.listener, unix.SHUT_RD)
	}
	_ = unix.Close(s.listener)
	s.listener = -1
}

// closeAll closes the sockets of the slots, once each: they may share one.
func (l *sockets) closeAll(slots []*slot) {
	closed := map[int]bool{-1: true}
	for _, s := range slots {
		if !closed[s.listener] {
			closed[s.listener] = true
			_ = unix.Close(s.listener)
		}
		s.listener = -1
	}
	l.group = nil
}
