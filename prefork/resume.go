package prefork

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// resume takes over the slots of the previous master, with their sockets and processes.
// In a trial it only checks the state, because the descriptors are not inherited.
func (m *Master) resume(saved *savedMaster) error {
	if saved.Address != m.opt.Address {
		return fmt.Errorf("the address has changed from %s to %s: restart instead of reload", saved.Address, m.opt.Address)
	}
	if saved.Layout != pageLayout {
		return errUnreadableState
	}
	m.supervisor.instance, m.supervisor.release.number = saved.Instance, saved.Release+1
	m.started, m.reloader.pending, m.reloader.tested = saved.Started, saved.ReloadPending, saved.TestedBinary
	m.rollout.reloads, m.reloader.refused = saved.Reloads, saved.Refused
	m.parked.inherited, m.appState = saved.Parked, saved.AppState
	maps.Copy(m.slots.removed, saved.RemovedStats)
	m.sockets.shared, m.sockets.fromSystemd, m.resumed, m.rollout.reloading = saved.SharedSocket, saved.FromSystemd, saved, true
	var err error
	if saved.Bound != "" {
		if m.sockets.address, err = net.ResolveTCPAddr("tcp", saved.Bound); err != nil {
			return errUnreadableState
		}
	}
	if m.report != nil {
		return nil
	}
	m.supervisor.shared, err = resumeShared(saved.SharedMemory, m.opt.SharedMemory)
	for _, old := range saved.Slots {
		s, slotErr := m.resumeSlot(old)
		err = errors.Join(err, slotErr)
		if slotErr == nil {
			m.slots.all = append(m.slots.all, s)
		}
	}
	return err
}

func (m *Master) resumeSlot(old savedSlot) (*slot, error) {
	s := &slot{
		role: old.Role, number: old.Number, listener: old.Listener, generation: old.Generation,
		restarts: old.Restarts, hangs: old.Hangs, mergedReport: old.MergedReport, unexpectedExits: old.UnexpectedExits, lastExit: old.LastExit, startAt: old.StartAt,
		removing: old.Removing, removed: old.Removed,
	}
	if i := slices.IndexFunc(m.opt.Roles, func(r Role) bool { return r.Name == s.role }); i >= 0 {
		s.configure(m.opt.Roles[i])
	}
	var err error
	if s.page, err = mapPage(old.Page); err != nil {
		return nil, fmt.Errorf("take over %s: %w", s.name(), err)
	}
	unix.CloseOnExec(old.Page)
	if s.reports, err = resumeReports(s.name(), old.Reports); err != nil {
		return nil, fmt.Errorf("take over %s: %w", s.name(), err)
	}
	m.sockets.resume(s)
	s.current = s.resumeProcess(old.Current)
	s.next = s.resumeProcess(old.Next)
	for _, p := range old.Leaving {
		s.leaving = append(s.leaving, s.resumeProcess(p))
	}
	return s, nil
}

func (s *slot) resumeProcess(old *savedProcess) *process {
	if old == nil {
		return nil
	}
	p := &process{
		slot: s, pid: old.PID, generation: old.Generation, release: old.Release,
		state: old.State, since: old.Since, deadline: old.Deadline, readyAt: old.ReadyAt, quitSent: old.QuitSent, exitReason: old.ExitReason,
		maxRequests: old.MaxRequests, resources: old.Resources, health: health{stalledSince: old.Since},
	}
	if p.counters, p.index = s.page.find(old.Generation); p.counters == nil {
		p.counters = &Counters{} // the scoreboard has no entry for it any more
	}
	socket, err := newSocket(uintptr(old.Control), s.name())
	if err != nil {
		p.control = closedControl{} // the child reads end of file on its end, and drains
	} else {
		p.control = socket
	}
	return p
}

// takeOver continues the work of the previous master, in the goroutine of Run.
func (m *Master) takeOver() {
	for p := range m.slots.processes() {
		m.supervisor.watch(p)
	}
	for i, old := range m.resumed.Slots {
		for p := range m.slots.processes() {
			if old.Adopter != 0 && p.pid == old.Adopter {
				m.slots.all[i].adopter = p
			}
		}
	}
	m.log.Info("reload: the new binary has taken over", "release", m.supervisor.release.number, "pid", os.Getpid(), "slots", len(m.slots.all))
	m.steering.reset()
	m.reap()
	for _, s := range m.slots.all {
		if s.next != nil && s.next.state == StateLive {
			m.promote(s)
		}
	}
	m.resizer.resize(m.opt.Roles, "reload")
	m.parked.closeUnclaimed()
	m.resumed = nil
	m.reloader.recheck()
}
