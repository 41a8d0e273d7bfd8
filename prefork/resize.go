package prefork

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// queueEmptyFor is the time for which the accept queue of a slot must be empty before
// its socket is closed. New connections already go to other slots. A TCP handshake that
// started earlier can still add a connection to this queue, one round trip later.
const queueEmptyFor = 500 * time.Millisecond

// resizer adds and removes slots.
type resizer struct {
	log        *slog.Logger
	slots      *slotTable
	sockets    *sockets
	steering   *steering
	supervisor *supervisor
}

// grow adds a slot to a role.
func (r *resizer) grow(role Role, why string) (ok bool) {
	err := r.add(role, why)
	if err != nil {
		r.log.Error("cannot add a slot", "reason", why, "error", err)
	}
	return err == nil
}

// shrink removes the last slot of a role, unless it is the only one.
func (r *resizer) shrink(role Role, why string) {
	s := r.slots.last(role.Name)
	if s == nil || s.number == 0 {
		r.log.Warn("cannot remove the last slot", "reason", why)
		return
	}
	r.remove(s, why)
}

// resize adds and removes slots until each role has the number in its options.
func (r *resizer) resize(roles []Role, why string) {
	for _, s := range slices.Clone(r.slots.all) {
		i := slices.IndexFunc(roles, func(role Role) bool { return role.Name == s.role })
		if !s.removed && !s.removing && (i < 0 || !r.sockets.fixedCount(roles[i]) && s.number >= roles[i].Slots) {
			r.remove(s, why)
		}
	}
	for _, role := range roles {
		for !r.sockets.fixedCount(role) && r.slots.count(role.Name) < role.Slots {
			if !r.grow(role, why) {
				break
			}
		}
	}
}

// add adds a slot to a role. If a slot of the role is being removed, its removal is
// cancelled instead.
func (r *resizer) add(role Role, why string) error {
	for _, s := range r.slots.all {
		if s.role != role.Name || !s.removing {
			continue
		}
		s.removing = false
		if s.current == nil { // the process of the slot exited during the removal
			_ = r.supervisor.start(s) // an error is logged, and the start is tried again
		}
		r.log.Info("slot removal cancelled", "slot", s.name(), "reason", why)
		return nil
	}
	s, err := r.create(role, r.slots.count(role.Name))
	if err == nil {
		r.log.Info("slot added", "slot", s.name(), "reason", why)
	}
	return err
}

// create adds a slot with a number to a role, and starts its process. If a removed slot
// with that number still has a leaving process, create uses the slot again.
func (r *resizer) create(role Role, number int) (s *slot, err error) {
	s = r.slots.find(fmt.Sprintf("%s.%d", role.Name, number))
	isNew := s == nil
	if isNew {
		if s, err = r.slots.create(role, number); err != nil {
			return nil, err
		}
	}
	if role.Listens {
		if err := r.sockets.join(s, r.slots.last(s.role)); err != nil {
			if isNew {
				r.slots.release(s)
			}
			return nil, err
		}
	}
	s.removed = false
	if isNew {
		r.slots.insert(s)
	}
	_ = r.supervisor.start(s) // an error is logged, and the start is tried again
	return s, nil
}

// remove removes a slot. If the slot has a socket of its own, its process is drained
// after the accept queue has been empty for queueEmptyFor.
func (r *resizer) remove(s *slot, why string) {
	r.log.Info("removing slot", "slot", s.name(), "reason", why)
	if r.sockets.hasOwnSocket(s) {
		s.removing, s.queueEmptySince = true, time.Time{}
		return
	}
	r.drainSlot(s)
}

// closeEmptySockets closes the sockets of slots that are being removed, if their accept
// queues have been empty for queueEmptyFor. It reports whether there are such slots.
func (r *resizer) closeEmptySockets(now time.Time) (found bool) {
	for _, s := range r.slots.all {
		if s.removing {
			found = true
			r.closeIfEmpty(s, now)
		}
	}
	return found
}

// closeIfEmpty closes the socket of one slot. The socket must be the last of its group,
// because the kernel renumbers the sockets after a closed one.
func (r *resizer) closeIfEmpty(s *slot, now time.Time) {
	if r.sockets.acceptQueue(s) > 0 {
		s.queueEmptySince = time.Time{}
		return
	}
	if s.queueEmptySince.IsZero() {
		s.queueEmptySince = now
	}
	if now.Sub(s.queueEmptySince) < queueEmptyFor || !r.sockets.isLast(s) {
		return
	}
	r.steering.endAdoption(s)
	r.sockets.closeLast()
	r.drainSlot(s)
}

// drainSlot drains the processes of a slot that gets no more connections.
func (r *resizer) drainSlot(s *slot) {
	s.listener, s.removing, s.removed, s.startAt = -1, false, true, time.Time{}
	for p := range s.processes() {
		if p.state != StateLeaving {
			r.supervisor.drain(p, "slot removed")
		}
	}
}
