package prefork

import (
	"fmt"
	"time"
)

// quietFor is how long no connection may have waited in the socket of a slot
// that is removed before it is closed: a handshake that was begun before new
// connections were steered away ends in this socket, a round trip later.
const quietFor = 500 * time.Millisecond

// grow adds a slot to the first role: SIGTTIN.
func (m *Master) grow(why string) {
	if m.stopping != "" {
		return
	}
	if err := m.oneMore(m.opt.Roles[0], why); err != nil {
		m.log.Error("cannot add a slot", "reason", why, "error", err)
	}
}

// oneMore gives a role another slot: the first that was to go, and has not, or
// a new one.
func (m *Master) oneMore(role Role, why string) error {
	for _, s := range m.slots.all {
		if s.role != role.Name || !s.retiring {
			continue
		}
		s.retiring = false
		if s.current == nil { // it died meanwhile, and was not wanted any more
			_ = m.supervisor.start(s, m.self()) // logged, and tried again
		}
		m.log.Info("slot stays", "slot", s.name(), "reason", why)
		return nil
	}
	s, err := m.addSlot(role, m.slots.count(role.Name))
	if err == nil {
		m.log.Info("slot added", "slot", s.name(), "reason", why)
	}
	return err
}

// shrink removes the last slot of the first role, but not the only one:
// SIGTTOU.
func (m *Master) shrink(why string) {
	if m.stopping != "" {
		return
	}
	s := m.slots.last(m.opt.Roles[0].Name)
	if s == nil || s.number == 0 {
		m.log.Warn("the last slot stays", "reason", why)
		return
	}
	m.log.Info("removing slot", "slot", s.name(), "reason", why)
	m.remove(s)
}

// remove lets a slot go: at once if it has no socket of its own, else when no
// connection waits in it any more.
func (m *Master) remove(s *slot) {
	if m.sockets.own(s) {
		s.retiring, s.quiet = true, time.Time{}
		return
	}
	m.retired(s)
}

// retire closes the socket of a slot that is to be removed, once it has been
// quiet for long enough and is the last of its group: closing another one
// would give the ones behind it new numbers.
func (m *Master) retire(s *slot, now time.Time) {
	if m.sockets.queue(s) > 0 {
		s.quiet = time.Time{}
		return
	}
	if s.quiet.IsZero() {
		s.quiet = now
	}
	if now.Sub(s.quiet) < quietFor || !m.sockets.isLast(s) {
		return
	}
	m.steering.disown(s)
	m.sockets.closeLast()
	m.retired(s)
}

// retired ends a slot that gets no more connections.
func (m *Master) retired(s *slot) {
	s.listener, s.retiring, s.retired, s.again = -1, false, true, time.Time{}
	for p := range s.processes() {
		if p.state != Leaving {
			m.supervisor.leave(p, "slot removed")
		}
	}
}

// removeStopped removes slots whose last process is gone.
func (m *Master) removeStopped() {
	if m.stopping != "" {
		return
	}
	removed := m.slots.removeStopped()
	for _, name := range removed {
		m.log.Info("slot removed", "slot", name)
	}
	if len(removed) > 0 {
		m.checkSettled() // the others may have waited for these
	}
}

// addSlot gives a role the slot of that number, and starts its process. If the
// one that had the number has not quite left, the slot is used again.
func (m *Master) addSlot(role Role, number int) (s *slot, err error) {
	s = m.slots.find(fmt.Sprintf("%s.%d", role.Name, number))
	create := s == nil
	if create {
		if s, err = m.slots.create(role, number); err != nil {
			return nil, err
		}
	}
	if role.Listens {
		if err := m.sockets.join(s, m.slots.last(s.role)); err != nil {
			if create {
				m.slots.release(s)
			}
			return nil, err
		}
	}
	s.retired = false
	if create {
		m.slots.insert(s)
	}
	_ = m.supervisor.start(s, m.self()) // logged, and tried again
	return s, nil
}
