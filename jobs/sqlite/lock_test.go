package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
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

// Several stores write all the time, with transactions as long as on a slow disk. Another
// store must still get the write lock. With the turn file it waits for about 13 transactions
// of the others on average, without it for 75. The test takes the average of many writes,
// because a process that gets no CPU for a moment misses its turn.
func TestFairLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := openInside(t, path, Options{})
	hogs := []*Store{openInside(t, path, Options{}), openInside(t, path, Options{})}
	ctx, cancel := context.WithCancel(t.Context())
	var written atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 { // so that writes always wait
		wg.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				err := hogs[i%2].committer.do(ctx, false, func(context.Context, *tx) error {
					<-time.After(3 * time.Millisecond)
					written.Add(1)
					return nil
				})
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	var before [31]int64
	for i := range before {
		began := written.Load()
		waitFor(t, func() bool { return written.Load() > began+4 }) // so that it waits for the lock again
		began = written.Load()
		err := s.committer.do(ctx, false, func(context.Context, *tx) error {
			before[i] = written.Load() - began
			return nil
		})
		if err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	wg.Wait()
	var sum int64
	for _, n := range before {
		sum += n
	}
	t.Logf("transactions of others before each write: %d", before)
	if mean := sum / int64(len(before)); mean > 45 {
		t.Errorf("%d writes of others came before each write, on average", mean)
	}
}
