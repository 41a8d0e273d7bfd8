package sqlite_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/sqlite"
)

// smallDisk mounts a small file system, which needs root.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("this test mounts a small disk, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func large(id string) jobs.NewTask {
	return jobs.NewTask{ID: id, Name: "work", Args: json.RawMessage(`["` + strings.Repeat("x", 16<<10) + `"]`)}
}

// enqueueUntilFull enqueues tasks until 20 were refused because the disk was full. It returns
// the ids of the accepted and of the refused tasks.
func enqueueUntilFull(t *testing.T, s *sqlite.Store) (accepted, refused []string) {
	t.Helper()
	for i := 0; len(refused) < 20; i++ {
		id := fmt.Sprint("t", i)
		_, _, err := s.Enqueue(t.Context(), large(id))
		switch {
		case err == nil:
			accepted = append(accepted, id)
		case errors.Is(err, jobs.ErrUnavailable) && strings.Contains(err.Error(), "the disk is full"):
			refused = append(refused, id)
		default:
			t.Fatalf("after %d tasks: %v", len(accepted), err)
		}
	}
	if len(accepted) == 0 {
		t.Fatal("nothing was accepted before the disk was full")
	}
	return accepted, refused
}

func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "4m")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "jobs.db")
	s := open(t, path, sqlite.Options{})
	if _, _, err := s.Enqueue(t.Context(), large("leased")); err != nil {
		t.Fatal(err)
	}
	leases, err := s.Lease(t.Context(), work("w", 1))
	if err != nil {
		t.Fatal(err)
	}

	accepted, refused := enqueueUntilFull(t, s)
	next := []jobs.NewTask{large("next")}
	if err := s.Finish(t.Context(), leases[0], driver.Outcome{State: jobs.StateSuccess, Next: next}); !errors.Is(err, jobs.ErrUnavailable) {
		t.Errorf("Finish on a full disk: %v", err)
	}
	wantStates := func(state jobs.State, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if got, err := s.Get(t.Context(), id); err != nil || got.State != state {
				t.Errorf("task %s: %v, %v; want the state %s", id, got, err, state)
			}
		}
	}
	wantStates(jobs.StateQueued, accepted...)
	wantStates(jobs.StateRunning, "leased")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for _, id := range refused {
		if _, created, err := s.Enqueue(t.Context(), large(id)); err != nil || !created {
			t.Errorf("with room again, task %s: created %v, %v", id, created, err)
		}
	}
	if err := s.Finish(t.Context(), leases[0], driver.Outcome{State: jobs.StateSuccess, Next: next}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	wantStates(jobs.StateSuccess, "leased")
	wantStates(jobs.StateQueued, append(append(accepted, refused...), "next")...)
	wantSound(t, path)
	t.Logf("%d tasks accepted before the disk was full", len(accepted))
}
