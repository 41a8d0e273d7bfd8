package workerapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs/driver"
)

// watchEvery is the interval at which the leases of waiting Extend calls are checked, so
// that a worker learns of a cancelled task within half a second.
const watchEvery = 250 * time.Millisecond

// watch checks the leases of all waiting Extend calls with one read of the store.
type watch struct {
	store driver.Leaser
	wake  chan struct{} // signal that there is a waiter; capacity 1

	mu      sync.Mutex
	waiting map[*waiter]struct{}
}

type waiter struct {
	leases []*driver.Lease
	lost   chan []*driver.Lease // capacity 1
}

// await waits until leases are not current, and returns them. It returns none when ctx ends.
func (w *watch) await(ctx context.Context, leases map[*driver.Lease]leaseID) []*driver.Lease {
	own := &waiter{lost: make(chan []*driver.Lease, 1)}
	for l := range leases {
		own.leases = append(own.leases, l)
	}
	w.mu.Lock()
	w.waiting[own] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, own)
	}()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	select {
	case lost := <-own.lost:
		return lost
	case <-ctx.Done():
		return nil
	}
}

// run checks leases until ctx ends. Without waiters it does nothing.
func (w *watch) run(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		waiters, leases := w.current()
		if len(leases) == 0 {
			select {
			case <-ctx.Done():
			case <-w.wake:
			}
			continue
		}
		began := time.Now()
		lost, err := w.store.Held(ctx, leases)
		if err != nil && ctx.Err() == nil {
			log.Debug("cannot check leases of workers", "error", err)
		}
		notify(waiters, lost)
		// Spend at most a quarter of the time on reading.
		sleep.For(ctx, max(watchEvery, 3*time.Since(began)))
	}
}

func (w *watch) current() (waiters []*waiter, leases []*driver.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for each := range w.waiting {
		waiters, leases = append(waiters, each), append(leases, each.leases...)
	}
	return waiters, leases
}

// notify sends the lost leases to the calls that wait for them.
func notify(waiters []*waiter, lost []*driver.Lease) {
	isLost := make(map[*driver.Lease]bool, len(lost))
	for _, l := range lost {
		isLost[l] = true
	}
	for _, each := range waiters {
		var own []*driver.Lease
		for _, l := range each.leases {
			if isLost[l] {
				own = append(own, l)
			}
		}
		if len(own) > 0 {
			select {
			case each.lost <- own:
			default: // it has got the result of the last check and is about to return
			}
		}
	}
}
