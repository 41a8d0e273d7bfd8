package sqlite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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

// A worker that waits gets a task of another process without polling: only the write to the
// WAL can wake it.
func TestOtherProcessWakesWorker(t *testing.T) {
	path := filepath.Join(InMemory(t), "jobs.db")
	s := openInside(t, path, Options{Poll: time.Hour})
	s.pollInterval = time.Hour
	leased := make(chan error, 1)
	go func() { // ends with the store
		_, err := s.Lease(t.Context(), driver.LeaseRequest{Owner: "w", Queues: []string{"default"}, Names: []string{"work"}, Max: 1})
		leased <- err
	}()
	began := time.Now()
	waitFor(t, func() bool {
		s.poller.mu.Lock()
		defer s.poller.mu.Unlock()
		return len(s.poller.leasers) == 1 && time.Since(began) > 2*settle // it polls for a while after it begins to watch
	})
	other := exec.CommandContext(t.Context(), os.Args[0], path) // enqueues a task, because its stdin is empty
	other.Env = append(os.Environ(), "SQLITE_TEST_ROLE=open")
	if text, err := other.CombinedOutput(); err != nil {
		t.Fatalf("the other process: %v\n%s", err, text)
	}
	select {
	case err := <-leased:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the worker was not woken")
	}
}
