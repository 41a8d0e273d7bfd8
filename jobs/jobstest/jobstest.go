// Package jobstest is the conformance suite that every driver.Store must pass. Each check
// states one promise of the interface and tries to break it. Promises of a single store,
// such as those about power loss and full disks, are tested in its own package.
package jobstest

import (
	"testing"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// Options are the settings of a store that a check needs.
type Options struct {
	LeaseTTL time.Duration
	MaxLost  int
	// Keep is the retention time; 0 is the default of the store.
	Keep time.Duration
}

const (
	// longLease is the lease time of checks that are not about expiry. It is so long
	// that no lease expires during a check, even on a slow machine.
	longLease = time.Hour
	// shortLease is the lease time of checks that wait for leases to expire. These checks
	// also pass on a slow machine, because they check only the order of events and that
	// nothing happens too early.
	shortLease = 400 * time.Millisecond
	// shortly is the delay of events that checks wait for. It is also the time for which
	// they wait to see that nothing happens.
	shortly = 100 * time.Millisecond
	maxLost = 3
)

// Run runs the suite as parallel subtests of t. open opens a handle of a store, as a process
// does. All calls with the same t must return handles of the same store, and each t must get
// a new, empty store. The suite closes the handles.
func Run(t *testing.T, open func(t *testing.T, o Options) driver.Store) {
	s := &suite{open: open, MaxLost: maxLost}
	for _, g := range []struct {
		name   string
		checks []check
	}{
		{"Enqueue", enqueueChecks},
		{"Lease", leaseChecks},
		{"Schedule", scheduleChecks},
		{"Hold", holdChecks},
		{"Lost", lostChecks},
		{"Suspect", suspectChecks},
		{"Finish", finishChecks},
		{"Group", groupChecks},
		{"Chord", chordChecks},
		{"Reserve", reserveChecks},
		{"Abort", abortChecks},
		{"Follow", followChecks},
		{"Keep", keepChecks},
		{"Depth", depthChecks},
		{"Watch", watchChecks},
		{"List", listChecks},
		{"Change", changeChecks},
		{"Purge", purgeChecks},
		{"Expire", expireChecks},
		{"Unique", uniqueChecks},
		{"Pause", pauseChecks},
		{"Rate", rateChecks},
		{"Log", logChecks},
		{"Text", textChecks},
		{"Remote", remoteChecks},
		{"Record", recordChecks},
		{"Close", closeChecks},
	} {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.checks {
				t.Run(c.promise, func(t *testing.T) {
					t.Parallel()
					c.run(s, t)
				})
			}
		})
	}
}

type suite struct {
	open    func(t *testing.T, o Options) driver.Store
	MaxLost int // number of lost leases after which a task is dead
}

// check is a promise and the test that tries to break it.
type check struct {
	promise string
	run     func(*suite, *testing.T)
}
