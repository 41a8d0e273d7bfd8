package prefork

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// slotTable holds the slots, in the order of their roles and numbers, and the statistics
// of removed slots.
type slotTable struct {
	roles   []Role
	all     []*slot
	removed map[string]savedStats // by slot name
}

// create makes a slot, but does not put it into the table. The slot continues the
// statistics of a removed slot of the same name.
func (t *slotTable) create(role Role, number int) (*slot, error) {
	s := &slot{role: role.Name, number: number, listener: -1}
	s.configure(role)
	var err error
	if s.page, err = newPage(s.name()); err != nil {
		return nil, fmt.Errorf("create scoreboard page: %w", err)
	}
	if s.reports, err = newReports(s.name()); err != nil {
		s.page.close()
		return nil, fmt.Errorf("create memory for reports: %w", err)
	}
	s.restoreStats(t.removed[s.name()])
	delete(t.removed, s.name())
	return s, nil
}

// insert puts a slot into the table, after the last slot of its role.
func (t *slotTable) insert(s *slot) {
	after := 0
	for _, role := range t.roles {
		for after < len(t.all) && t.all[after].role == role.Name {
			after++
		}
		if role.Name == s.role {
			break
		}
	}
	t.all = slices.Insert(t.all, after, s)
}

// release frees the memory of a slot, and keeps its statistics.
func (t *slotTable) release(s *slot) {
	t.removed[s.name()] = s.saveStats()
	s.page.close()
	s.reports.close()
}

// removeStopped removes slots in the state stopped from the table, and returns their
// names.
func (t *slotTable) removeStopped() (names []string) {
	stopped := func(s *slot) bool { return s.state() == StateStopped }
	if !slices.ContainsFunc(t.all, stopped) {
		return nil
	}
	t.all = slices.DeleteFunc(t.all, func(s *slot) bool {
		if !stopped(s) {
			return false
		}
		names = append(names, s.name())
		t.release(s)
		return true
	})
	return names
}

// listening returns the slots of the roles that listen.
func (t *slotTable) listening() (slots []*slot) {
	for _, role := range t.roles {
		for _, s := range t.all {
			if role.Listens && s.role == role.Name {
				slots = append(slots, s)
			}
		}
	}
	return slots
}

// find returns the slot with a name, or nil if there is none.
func (t *slotTable) find(name string) *slot {
	for _, s := range t.all {
		if s.name() == name {
			return s
		}
	}
	return nil
}

// processes iterates over the processes of all slots.
func (t *slotTable) processes() iter.Seq[*process] {
	return func(yield func(*process) bool) {
		for _, s := range t.all {
			for p := range s.processes() {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// process returns the process with a PID, or nil if there is none.
func (t *slotTable) process(pid int) *process {
	for p := range t.processes() {
		if p.pid == pid {
			return p
		}
	}
	return nil
}

// live returns the number of slots with a live process.
func (t *slotTable) live() (n int) {
	for _, s := range t.all {
		if s.liveProcess() != nil {
			n++
		}
	}
	return n
}

// count returns the number of slots of a role, without those that are being removed.
func (t *slotTable) count(role string) (n int) {
	for _, s := range t.all {
		if s.role == role && !s.removed && !s.removing {
			n++
		}
	}
	return n
}

// last returns the last slot of a role that is not being removed, or nil if there is
// none.
func (t *slotTable) last(role string) (last *slot) {
	for _, s := range t.all {
		if s.role == role && !s.removed && !s.removing {
			last = s
		}
	}
	return last
}

// descriptors returns the descriptors of all slots and processes.
func (t *slotTable) descriptors() (fds []int) {
	for _, s := range t.all {
		fds = append(fds, s.page.fd)
		for _, fd := range []int{s.listener, s.reports.descriptor()} {
			if fd >= 0 {
				fds = append(fds, fd)
			}
		}
		for p := range s.processes() {
			fds = append(fds, descriptor(p.control))
		}
	}
	return fds
}

// removedStats returns the statistics of removed slots, sorted by name.
func (t *slotTable) removedStats() (stats []SlotStats) {
	for _, name := range slices.Sorted(maps.Keys(t.removed)) {
		saved := t.removed[name]
		stats = append(stats, SlotStats{
			SlotStatus: SlotStatus{Slot: name, Role: saved.Role, State: StateStopped, Generation: saved.Generation, Restarts: saved.Restarts},
			Accepted:   saved.Accepted, Adopted: saved.Adopted, Hangs: saved.Hangs,
			AppCounters: saved.AppCounters, MergedReport: saved.MergedReport,
		})
	}
	return stats
}
