package sqlite_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/sqlite"
)

// Run these benchmarks on a real disk (set TMPDIR), because in memory fsync takes no time.

func BenchmarkEnqueue(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			s := open(b, temp(b), sqlite.Options{})
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			err := callers(n, func() error {
				for i := left.Add(-1); i >= 0; i = left.Add(-1) {
					if _, _, err := s.Enqueue(b.Context(), jobs.NewTask{ID: fmt.Sprint("t", i), Name: "work"}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			perSecond(b)
		})
	}
}

func BenchmarkLeaseFinish(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("max=%d", n), func(b *testing.B) {
			s := open(b, temp(b), sqlite.Options{})
			fill(b, s, b.N)
			b.ResetTimer()
			for done := 0; done < b.N; {
				done += leaseAndFinish(b, s, n)
			}
			perSecond(b)
		})
	}
}

// leaseAndFinish does the work of a worker with the given concurrency.
func leaseAndFinish(b *testing.B, s *sqlite.Store, max int) int {
	leases, err := s.Lease(b.Context(), work("w", max))
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	err = callers(len(leases), func() error {
		return s.Finish(b.Context(), leases[next.Add(1)-1], driver.Outcome{State: jobs.StateSuccess})
	})
	if err != nil {
		b.Fatal(err)
	}
	return len(leases)
}

func perSecond(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// A worker on a store with 1,000,000 finished tasks, 100,000 earlier tasks that it cannot
// run, and 100,000 tasks for it.
func BenchmarkBacklog(b *testing.B) {
	path := temp(b)
	s := open(b, path, sqlite.Options{})
	db := raw(b, path)
	for _, part := range []struct {
		prefix, name, state, due string
		n                        int
	}{
		{"done", "work", "success", "NULL", 1_000_000},
		{"unknown", "other", "queued", "1", 100_000},
		{"waiting", "work", "queued", "2", 100_000},
	} {
		if _, err := db.Exec(`
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO tasks (version, id, queue, name, state, due, run_at, created, timeout, max_retries, attempts,
				lost, worker, progress, note, error, artifacts, failures, args)
			SELECT 1, ? || i, 'default', ?, ?, `+part.due+`, 1, 1, 0, 0, 0, 0, '', 0, '', '', '[]', '[]', '["a.mp3"]' FROM n`,
			part.n, part.prefix, part.name, part.state); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		leaseAndFinish(b, s, 1)
	}
	perSecond(b)
}

// Time from a change in one store to the return of Watch in another, with a thousand
// other watched tasks. A poll interval of 25 ms alone gives 12.5 ms on average.
func BenchmarkWatch(b *testing.B) {
	path := temp(b)
	s, other := open(b, path, sqlite.Options{}), open(b, path, sqlite.Options{})
	const watched = 1000
	fill(b, s, watched)
	accept(b, s, "it")
	ctx, cancel := context.WithCancel(b.Context())
	var i atomic.Int64
	ended := make(chan error, 2)
	go func() { // ends with ctx
		ended <- callers(watched, func() error {
			_, err := s.Watch(ctx, fmt.Sprint("t", i.Add(1)-1), 1000)
			return err
		})
	}()
	seen := make(chan time.Time)
	go func() { // ends with ctx
		task, err := s.Watch(ctx, "it", 1)
		for ; err == nil; task, err = s.Watch(ctx, "it", task.Version) {
			seen <- time.Now()
		}
		ended <- err
	}()
	r := work("w", watched+1)
	leases, err := other.Lease(ctx, r)
	if err != nil {
		b.Fatal(err)
	}
	it := leases[slices.IndexFunc(leases, func(l *driver.Lease) bool { return l.Task.ID == "it" })]
	<-seen
	var sum, slowest time.Duration
	n := 0
	pause := time.NewTicker(7 * time.Millisecond) // for the watcher to watch again
	for ; b.Loop(); n++ {
		<-pause.C
		if err := other.Progress(ctx, it, 1, ""); err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		d := (<-seen).Sub(begin)
		sum, slowest = sum+d, max(slowest, d)
	}
	b.ReportMetric(float64((sum/time.Duration(n)).Microseconds())/1000, "mean-ms")
	b.ReportMetric(float64(slowest.Microseconds())/1000, "max-ms")
	cancel()
	<-ended
	<-ended
}

func BenchmarkLateness(b *testing.B) {
	path := temp(b)
	jobstest.BenchmarkLateness(b, open(b, path, sqlite.Options{}), open(b, path, sqlite.Options{}))
}
