package prefork

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// Listen opens the listening sockets of the slots, or takes over the sockets from
// systemd (sd_listen_fds(3)) or from the previous master. It returns their address. If
// the port in Options.Address is 0, the address has the port that the kernel chose. The
// address is nil if no role listens. Errors wrap those of the system, such as
// syscall.EADDRINUSE and syscall.EACCES.
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

// sockets are the listening sockets of the slots: a SO_REUSEPORT group with one socket
// for each slot, or one socket that all slots share.
type sockets struct {
	sys         *system
	address     *net.TCPAddr // nil: there are no sockets
	fromSystemd bool         // systemd passed the sockets
	shared      bool         // all slots share one socket
	group       []*slot      // slots with a socket of their own, by index of the socket in its SO_REUSEPORT group
}

// bind opens the sockets of some slots, or takes them over from systemd.
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

// join gives a new slot its socket: a new one in the group, or that of sibling if all
// slots share one.
func (l *sockets) join(s, sibling *slot) error {
	switch {
	case l.shared:
		s.listener = sibling.listener
		return nil
	case l.fromSystemd:
		return errors.New("systemd passed the sockets and their number is fixed: change it in the socket unit")
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

// fixedCount reports whether the number of sockets from systemd fixes the number of
// slots of a role.
func (l *sockets) fixedCount(role Role) bool { return role.Listens && l.fromSystemd && !l.shared }

// acceptQueue returns the number of connections in the accept queue of a slot. It is 0
// for a shared socket, because its queue does not belong to one slot.
func (l *sockets) acceptQueue(s *slot) int {
	if !l.hasOwnSocket(s) {
		return 0
	}
	return l.sys.acceptQueue(s.listener)
}

// listeners returns the descriptors of the sockets of the group.
func (l *sockets) listeners() (all []int) {
	for _, s := range l.group {
		all = append(all, s.listener)
	}
	return all
}

// isLast reports whether the socket of a slot is the last of the group.
func (l *sockets) isLast(s *slot) bool { return len(l.group) > 0 && s == l.group[len(l.group)-1] }

// closeLast closes the last socket of the group.
func (l *sockets) closeLast() {
	s := l.group[len(l.group)-1]
	l.group = slices.Delete(l.group, len(l.group)-1, len(l.group))
	// Children may have copies of the socket, and a stopped child does not close its
	// copy. The socket would then stay in the group, and the next slot would get
	// another index. shutdown(2) removes the socket from the group.
	if !l.fromSystemd { // systemd has a copy, and passes it again at the next start
		_ = unix.Shutdown(s.listener, unix.SHUT_RD)
	}
	_ = unix.Close(s.listener)
	s.listener = -1
}

// closeAll closes the sockets of some slots, each once even if slots share it.
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
