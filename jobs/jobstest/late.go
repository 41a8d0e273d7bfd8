package jobstest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// BenchmarkLateness measures how late scheduled tasks are leased. A thousand tasks are
// enqueued with the handle accepts and leased with the handle leases. It reports p50, p99
// and the maximum, in milliseconds.
func BenchmarkLateness(b *testing.B, accepts, leases driver.Store) {
	for _, apart := range []time.Duration{0, time.Millisecond} {
		b.Run(fmt.Sprint("apart=", apart), func(b *testing.B) {
			var late []time.Duration
			for b.Loop() {
				late = append(late, lateness(b, accepts, leases, apart)...)
			}
			slices.Sort(late)
			for _, quantile := range []struct {
				unit string
				at   int
			}{{"p50-ms", len(late) / 2}, {"p99-ms", len(late) * 99 / 100}, {"max-ms", len(late) - 1}} {
				b.ReportMetric(float64(late[quantile.at].Microseconds())/1000, quantile.unit)
			}
		})
	}
}

// lateness schedules a thousand tasks, with the interval apart between two of them. It
// returns the delay of each lease.
func lateness(b *testing.B, accepts, leases driver.Store, apart time.Duration) (late []time.Duration) {
	b.Helper()
	const tasks = 1000
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	r := by("w", 64)
	r.Queues = []string{jobs.NewID()}
	// A task that is accepted after it is due counts as late.
	begin := time.Now().Add(2 * time.Second)
	due := make(map[string]time.Time, tasks)
	accepted := make(chan error, tasks)
	for i := range tasks {
		n := task(jobs.NewID())
		n.Queue, n.RunAt = r.Queues[0], begin.Add(time.Duration(i)*apart)
		due[n.ID] = n.RunAt
		go func() { // ends with its call
			_, _, err := accepts.Enqueue(ctx, n)
			accepted <- err
		}()
	}
	for range tasks {
		if err := <-accepted; err != nil {
			b.Fatalf("Enqueue: %v", err)
		}
	}
	for len(late) < tasks {
		got, err := leases.Lease(ctx, r)
		if err != nil {
			b.Fatalf("Lease: %v", err)
		}
		now := time.Now()
		for _, l := range got {
			late = append(late, now.Sub(due[l.Task.ID]))
		}
	}
	return late
}
