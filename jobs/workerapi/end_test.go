package workerapi_test

import (
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/jobs/workerapi"
)

// The tasks of an ended session are due at once. They count as lost only if the worker has
// died.
func TestEnd(t *testing.T) {
	t.Parallel()
	p := newPlace(t, 2, sqlite.Options{})
	task := p.enqueue(t, jobs.NewTask{Name: "print", WaitForWorker: true})
	redelivered := uint64(0)
	for _, lost := range []bool{false, true} {
		session := announce(t, p.processes[0], named("print")...)
		first := lease(t, p.processes[0], session, 1)
		if len(first) != 1 {
			t.Fatalf("leased %+v", first)
		}
		n, err := p.processes[1].End(t.Context(), session, lost)
		if err != nil || n != 1 {
			t.Errorf("lost %t: %d tasks, %v", lost, n, err)
		}
		if lost {
			redelivered++
		}
		if n := p.count(meter.EventRedelivered); n != redelivered {
			t.Errorf("lost %t: %d lost leases, want %d", lost, n, redelivered)
		}
		finish(t, p.processes[1], workerapi.FinishEntry{Lease: first[0].Lease, State: "success"}, 409, "")
		if n, err := p.processes[1].End(t.Context(), session, lost); err != nil || n != 0 {
			t.Errorf("lost %t: again %d tasks, %v", lost, n, err)
		}
		_, err = p.processes[1].Lease(t.Context(), workerapi.LeaseRequest{Session: session})
		wantCode(t, err, 410)
	}
	p.state(t, task.ID, jobs.StateQueued)
}
