package prefork

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// queueEmptyFor is how long the accept queue of a slot that is removed has to be
// empty before the socket is closed. A handshake that began before new
// connections were steered away still ends in this socket, a round trip later.
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

// shrink removes the last slot of a role, but not the only one.
func (r *resizer) shrink(role Role, why string) {
	s := r.slots.last(role.Name)
	if s == nil || s.number == 0 {
		r.log.Warn("cannot remove the last slot", "reason", why)
		return
	}
	r.remove(s, why)
}

// resize gives every role as many slots as it asks for.
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

// add gives a role another slot: the first one whose removal has not finished,
// or a new one.
func (r *resizer) add(role Role, why string) error {
	for _, s := range r.slots.all {
		if s.role != role.Name || !s.removing {
			continue
		}
		s.removing = false
		if s.current == nil { // it died meanwhile and was not restarted
			_ = r.supervisor.start(s) // logged, and tried again
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

// create gives a role the slot of that number, and starts its process. If the
// one that had the number has not quite left, the slot is used again.
func (r *resizer) create(role Role, number int) (s *slot, err error) {
	s = r.slots.find(fmt.Sprintf("%s.%d", role.Name, number))
	create := s == nil
	if create {
		if s, err = r.slots.create(role, number); err != nil {
			return nil, err
		}
	}
	if role.Listens {
		if err := r.sockets.join(s, r.slots.last(s.role)); err != nil {
			if create {
				r.slots.release(s)
			}
			return nil, err
		}
	}
	s.removed = false
	if create {
		r.slots.insert(s)
	}
	_ = r.supervisor.start(s) // logged, and tried again
	return s, nil
}

// remove removes a slot: at once if it has no socket of its own, else when no
// connection waits in it any more.
func (r *resizer) remove(s *slot, why string) {
	r.log.Info("removing slot", "slot", s.name(), "reason", why)
	if r.sockets.hasOwnSocket(s) {
		s.removing, s.queueEmptySince = true, time.Time{}
		return
	}
	r.drainSlot(s)
}

// closeEmptySockets closes the sockets of slots that are being removed, once they have
// been quiet for long enough. It reports whether there are such slots.
func (r *resizer) closeEmptySockets(now time.Time) (some bool) {
	for _, s := range r.slots.all {
		if s.removing {
			some = true
			r.closeIfEmpty(s, now)
		}
	}
	return some
}

// closeIfEmpty closes the socket of a slot if it is the last of the group:
// closing another one would renumber those after it.
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

// drainSlot ends a slot that gets no more connections.
func (r *resizer) drainSlot(s *slot) {
	s.listener, s.removing, s.removed, s.startAt = -1, false, true, time.Time{}
	for p := range s.processes() {
		if p.state != StateLeaving {
			r.supervisor.drain(p, "slot removed")
		}
	}
}
