package prefork

import "context"

// SlotStats are the statistics of a slot, summed over all processes it has had.
type SlotStats struct {
	SlotStatus
	// Accepted is the number of connections that were accepted from the slot's own socket,
	// Adopted the number of those from the sockets of other slots.
	Accepted, Adopted int64
	// Hangs is the number of processes that were killed because they hung.
	Hangs int
	// AppCounters are the values of the application's counters, see AppCounters.
	AppCounters []int64
	// Reports are the last reports of the running processes, the current
	// process first.
	Reports [][]byte
	// MergedReport is the sum of the last reports of all processes that have
	// exited, see Options.MergeReports. It is nil if there is none.
	MergedReport []byte
}

// Stats are the statistics of a master.
type Stats struct {
	// Slots are the present slots, followed by the removed ones, whose State is
	// StateStopped. Removed slots are included so that a sum over all slots never
	// decreases.
	Slots []SlotStats
	// Reloads is the number of reloads that reached every slot. RefusedReloads is the
	// number of reloads that failed and changed nothing.
	Reloads, RefusedReloads int
	// ReloadFailed is the reason why the last reload failed, see Status.
	ReloadFailed string
}

// Stats returns the statistics. It may be called from any goroutine while Run
// runs, and does not wait for any child. The error is ErrNotRunning, or the cause
// of ctx if that ends first.
func (m *Master) Stats(ctx context.Context) (stats Stats, err error) {
	err = m.call(ctx, func() { stats = m.stats() })
	return stats, err
}

func (m *Master) stats() Stats {
	status := m.status()
	stats := Stats{Reloads: m.rollout.reloads, RefusedReloads: m.reloader.refused, ReloadFailed: status.ReloadFailed}
	for i, s := range m.slots.all {
		one := SlotStats{SlotStatus: status.Slots[i], Hangs: s.hangs, AppCounters: s.page.appCounterValues(), MergedReport: s.mergedReport}
		one.Accepted, one.Adopted = s.page.acceptedTotals()
		for p := range s.processes() {
			if text := s.reports.read(p.index); len(text) > 0 {
				one.Reports = append(one.Reports, text)
			}
		}
		stats.Slots = append(stats.Slots, one)
	}
	stats.Slots = append(stats.Slots, m.slots.removedStats()...)
	return stats
}

// savedStats are the statistics of a removed slot. The JSON keys never change,
// because a master of another release reads them.
type savedStats struct {
	Role              string
	Generation        int
	Restarts, Hangs   int
	Accepted, Adopted int64
	AppCounters       []int64 `json:"Tally"`
	MergedReport      []byte  `json:"Past"`
}

// saveStats returns the present statistics of the slot.
func (s *slot) saveStats() savedStats {
	saved := savedStats{
		Role: s.role, Generation: s.generation, Restarts: s.restarts, Hangs: s.hangs,
		AppCounters: s.page.appCounterValues(), MergedReport: s.mergedReport,
	}
	saved.Accepted, saved.Adopted = s.page.acceptedTotals()
	return saved
}

// restoreStats makes a new slot continue the statistics of a removed one.
func (s *slot) restoreStats(saved savedStats) {
	s.generation, s.restarts, s.hangs, s.mergedReport = saved.Generation, saved.Restarts, saved.Hangs, saved.MergedReport
	s.page.exited.accepted.Store(saved.Accepted)
	s.page.exited.adopted.Store(saved.Adopted)
	for i, n := range saved.AppCounters[:min(len(saved.AppCounters), NumAppCounters)] {
		s.page.appCounters[i].Store(n)
	}
}
