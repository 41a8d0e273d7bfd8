package workerapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// reportEvery is the shortest time between two writes of progress for a lease.
const reportEvery = 500 * time.Millisecond

// ProgressEntry reports how far an attempt is. Fields that are left out stay as they are.
type ProgressEntry struct {
	Lease    string   `json:"lease"`
	Progress *float64 `json:"progress"` // percent; values outside of 0 to 100 are limited
	Note     *string  `json:"note"`     // cut to MaxNote
	// Meta is a JSON value of up to MaxMeta that is the result of the task until it ends.
	Meta json.RawMessage `json:"meta"`
}

// leaseKey identifies a lease in a map.
type leaseKey struct {
	task, owner string
	attempt     int
}

func keyOf(l *driver.Lease) leaseKey { return leaseKey{l.Task.ID, l.Owner, l.Attempt} }

// report is the progress of a lease that this process has received.
type report struct {
	lease   *driver.Lease
	written time.Time
	pending *driver.Report // newer than what was written; nil: none
}

// reports limits the writes of progress. A report within reportEvery of the last write waits
// and is merged with later ones.
type reports struct {
	mu    sync.Mutex
	last  map[leaseKey]*report
	added chan struct{} // gets an element when a lease is added to last
}

// Progress stores progress, at most two times a second for each lease. The newest report
// counts. A report that is not written at once gets the code 200, also if its lease is not
// current.
func (s *Service) Progress(ctx context.Context, entries []ProgressEntry) []Result {
	results := make([]Result, len(entries))
	each(len(entries), func(i int) {
		results[i] = s.resultOf(entries[i].Lease, "", s.progress(ctx, entries[i]))
	})
	return results
}

func (s *Service) progress(ctx context.Context, e ProgressEntry) error {
	id, err := parseLease(e.Lease)
	if err != nil {
		return invalid("%v", err)
	}
	r, err := e.report()
	if err != nil {
		return err
	}
	l := id.lease()
	if !s.reports.add(l, r) {
		return nil
	}
	return s.store.Report(ctx, l, r)
}

func (e ProgressEntry) report() (r driver.Report, err error) {
	if e.Progress != nil {
		if math.IsNaN(*e.Progress) {
			return r, invalid("progress: not a number")
		}
		percent := int(math.Round(min(max(*e.Progress, 0), 100)))
		r.Percent = &percent
	}
	if e.Note != nil {
		note := driver.Note(utf8text.Repair(*e.Note))
		r.Note = &note
	}
	if len(e.Meta) > MaxMeta {
		return r, tooLarge("meta", len(e.Meta), MaxMeta)
	}
	if err := utf8text.CheckJSON(e.Meta); err != nil {
		return r, invalid("meta: %v", err)
	}
	r.Meta = e.Meta
	return r, nil
}

// add reports whether r must be written now. Otherwise it keeps r for later.
func (all *reports) add(l *driver.Lease, r driver.Report) (write bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	last := all.last[keyOf(l)]
	now := time.Now()
	if last == nil {
		last = &report{lease: l}
		all.last[keyOf(l)] = last
		select {
		case all.added <- struct{}{}:
		default: // flushReports has not taken the last one yet
		}
	}
	if last.pending == nil && now.Sub(last.written) >= reportEvery {
		last.written = now
		return true
	}
	if last.pending != nil {
		r = last.pending.Merge(r)
	}
	last.pending = &r
	return false
}

// take returns the reports that are due, and removes those of leases that have not reported
// for a while. left is false if no lease remains.
func (all *reports) take(now time.Time) (due map[*driver.Lease]driver.Report, left bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	due = map[*driver.Lease]driver.Report{}
	for _, r := range all.last {
		if r.pending != nil && now.Sub(r.written) >= reportEvery {
			due[r.lease] = *r.pending
			r.pending, r.written = nil, now
		}
	}
	maps.DeleteFunc(all.last, func(_ leaseKey, r *report) bool { return r.pending == nil && now.Sub(r.written) > reportEvery })
	return due, len(all.last) > 0
}

// flushReports writes reports that have waited, until ctx ends. Then it writes the rest.
func (s *Service) flushReports(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-s.reports.added:
		case <-ctx.Done():
		}
		for left := true; left && sleep.Aligned(ctx, reportEvery); {
			left = s.writeReports(ctx, time.Now())
		}
	}
	s.writeReports(ctx, time.Now().Add(reportEvery))
}

func (s *Service) writeReports(ctx context.Context, now time.Time) (left bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	due, left := s.reports.take(now)
	for l, r := range due {
		s.writeReport(ctx, l, r)
	}
	return left
}

func (s *Service) writeReport(ctx context.Context, l *driver.Lease, r driver.Report) {
	if err := s.store.Report(ctx, l, r); err != nil && !errors.Is(err, jobs.ErrLeaseLost) {
		s.log.Debug("cannot record progress", "id", l.Task.ID, "error", err)
	}
}

// flushReport writes the report of a lease that has waited.
func (s *Service) flushReport(ctx context.Context, l *driver.Lease) {
	s.reports.mu.Lock()
	last := s.reports.last[keyOf(l)]
	delete(s.reports.last, keyOf(l))
	s.reports.mu.Unlock()
	if last != nil && last.pending != nil {
		s.writeReport(ctx, l, *last.pending)
	}
}
