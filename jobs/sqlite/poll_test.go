package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Changes by the same store are detected without polling. No change is missed between a read
// and the start of the wait.
func TestOwnChangesWithoutPoll(t *testing.T) {
	s := openInside(t, filepath.Join(InMemory(t), "jobs.db"), Options{Poll: time.Hour})
	s.pollInterval = time.Hour
	s.poller.wal.path = "" // writes are not watched
	var waiting sync.WaitGroup
	defer waiting.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	enqueue := func(id string) {
		if _, _, err := s.Enqueue(ctx, jobs.NewTask{ID: id, Name: id}); err != nil {
			t.Error(err)
		}
	}
	request := func(name string) driver.LeaseRequest {
		return driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{name}, Max: 1}
	}
	// A waiter that keeps the poller running, because the poller wakes all waiters when it
	// starts.
	waiting.Go(func() { s.Lease(ctx, request("nobody")) })
	waitFor(t, func() bool {
		s.poller.mu.Lock()
		defer s.poller.mu.Unlock()
		return len(s.poller.leasers) == 1
	})
	for i := range 300 {
		id := fmt.Sprint("t", i)
		waiting.Go(func() { enqueue(id) })
		leases, err := s.Lease(ctx, request(id))
		if err != nil {
			t.Fatal(err)
		}
		version := leases[0].Task.Version
		waiting.Go(func() {
			if err := s.Progress(ctx, leases[0], 1, ""); err != nil {
				t.Error(err)
			}
		})
		if _, err := s.Watch(ctx, id, version); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}

// A change by another process is detected by its write to the WAL, without polling.
func TestOtherChangesByWAL(t *testing.T) {
	path := filepath.Join(InMemory(t), "jobs.db")
	s := openInside(t, path, Options{Poll: time.Hour})
	s.pollInterval = time.Hour
	other := openInside(t, path, Options{})
	for i := range 20 {
		id := fmt.Sprint("t", i)
		leased := make(chan error, 1)
		go func() {
			_, err := s.Lease(t.Context(), driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{id}, Max: 1})
			leased <- err
		}()
		waitFor(t, func() bool {
			s.poller.mu.Lock()
			defer s.poller.mu.Unlock()
			return len(s.poller.leasers) == 1
		})
		if _, _, err := other.Enqueue(t.Context(), jobs.NewTask{ID: id, Name: id}); err != nil {
			t.Fatal(err)
		}
		if err := <-leased; err != nil {
			t.Fatal(err)
		}
	}
}
