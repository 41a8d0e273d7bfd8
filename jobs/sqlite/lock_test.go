package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func openInside(t *testing.T, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Stores that write without pause, each transaction taking as long as on a slow
// disk, must not keep another one out. A busy machine is slow now and then, so
// one good round is enough; without taking turns there is none.
func TestNobodyStarves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := openInside(t, path, Options{})
	hogs := []*Store{openInside(t, path, Options{}), openInside(t, path, Options{})}
	var all []time.Duration
	for range 3 {
		slowest := slowestBeside(t, s, hogs)
		if slowest < 500*time.Millisecond {
			return
		}
		all = append(all, slowest)
	}
	t.Errorf("the slowest writes took %v", all)
}

func slowestBeside(t *testing.T, s *Store, hogs []*Store) (slowest time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 { // so that writes always wait
		wg.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				err := hogs[i%2].committer.do(ctx, false, func(context.Context, *tx) error {
					<-time.After(3 * time.Millisecond)
					return nil
				})
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	n := 0
	for begin := time.Now(); time.Since(begin) < 2*time.Second; n++ {
		before := time.Now()
		if err := s.committer.do(ctx, false, func(context.Context, *tx) error { return nil }); err != nil {
			t.Error(err)
			break
		}
		slowest = max(slowest, time.Since(before))
	}
	cancel()
	wg.Wait()
	t.Logf("%d writes, the slowest in %v", n, slowest)
	return slowest
}
