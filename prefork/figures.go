package prefork

import "context"

// Figures are the counts of a slot, over all processes it has had.
type Figures struct {
	SlotStatus
	// Accepted are connections taken from the slot's own socket, Adopted those
	// from the sockets of siblings.
	Accepted, Adopted int64
	// Hangs is how many processes were killed because they hung.
	Hangs int
	// Tally are the application's counters.
	Tally []int64
	// Reports are those of the living processes, the current one's first.
	Reports [][]byte
	// Past is the sum of the reports of processes that are gone, by Options.Merge.
	Past []byte
}

// Overview are the figures of a master.
type Overview struct {
	// Slots are the present slots, followed by removed ones, whose State is
	// StateStopped. So a sum over all never falls.
	Slots []Figures
	// Reloads counts those that reached every slot, RefusedReloads those that
	// changed nothing.
	Reloads, RefusedReloads int
	// ReloadFailed is as in Status.
	ReloadFailed string
}

// Figures returns the counts. It may be called from any goroutine
// while Run runs, and waits for no child.
func (m *Master) Figures(ctx context.Context) (o Overview, err error) {
	err = m.call(ctx, func() { o = m.overview() })
	return o, err
}

func (m *Master) overview() Overview {
	status := m.status()
	o := Overview{Reloads: m.rollout.reloads, RefusedReloads: m.reloader.refused, ReloadFailed: status.ReloadFailed}
	for i, s := range m.slots.all {
		f := Figures{SlotStatus: status.Slots[i], Hangs: s.hangs, Tally: s.page.counted(), Past: s.past}
		f.Accepted, f.Adopted = s.page.arrived()
		for p := range s.processes() {
			if text := s.reports.read(p.place); len(text) > 0 {
				f.Reports = append(f.Reports, text)
			}
		}
		o.Slots = append(o.Slots, f)
	}
	o.Slots = append(o.Slots, m.slots.removedFigures()...)
	return o
}

// counted is a copy of the tally.
func (p *page) counted() []int64 {
	words := make([]int64, TallySize)
	for i := range words {
		words[i] = p.tally[i].Load()
	}
	return words
}

// savedFigures are those of a slot that was removed.
type savedFigures struct {
	Role              string
	Generation        int
	Restarts, Hangs   int
	Accepted, Adopted int64
	Tally             []int64
	Past              []byte
}

// save returns the slot's figures as of now.
func (s *slot) save() savedFigures {
	f := savedFigures{
		Role: s.role, Generation: s.generation, Restarts: s.restarts, Hangs: s.hangs, Tally: s.page.counted(), Past: s.past,
	}
	f.Accepted, f.Adopted = s.page.arrived()
	return f
}

// restore continues the figures of a removed slot.
func (s *slot) restore(f savedFigures) {
	s.generation, s.restarts, s.hangs, s.past = f.Generation, f.Restarts, f.Hangs, f.Past
	s.page.past.accepted.Store(f.Accepted)
	s.page.past.adopted.Store(f.Adopted)
	for i, n := range f.Tally[:min(len(f.Tally), TallySize)] {
		s.page.tally[i].Store(n)
	}
}
