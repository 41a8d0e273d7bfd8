// Package jobstest is the conformance suite that every jobs.Store passes. Each
// story in it states one promise of the interface and tries to break it; what
// only one technology promises, power loss and full disks among it, is tested
// where that is implemented.
package jobstest

import (
	"testing"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// Options are the settings of a store that a story needs.
type Options struct {
	LeaseTTL time.Duration
	MaxLost  int
	// Keep is how long ended tasks are kept; 0 means the default of the store.
	Keep time.Duration
}

const (
	// longLease is the lease time of stories that are not about expiry: no
	// machine is so slow that a lease expires before the story has ended.
	longLease = time.Hour
	// shortLease is the lease time of stories that wait for leases to expire.
	// They hold however late the story itself is: they check the order of
	// events, and that nothing came before its time.
	shortLease = 400 * time.Millisecond
	// shortly is how far ahead stories set a time that they wait for, and how
	// long they watch that nothing happens.
	shortly = 100 * time.Millisecond
	maxLost = 3
)

// Run runs the suite as parallel subtests of t. open returns another handle on a
// store: all calls with one t share it, as processes would, and for each t it is
// a new, empty one. The suite closes the handles.
func Run(t *testing.T, open func(t *testing.T, o Options) driver.Store) {
	s := &suite{open: open, MaxLost: maxLost}
	for _, g := range []struct {
		name    string
		stories []story
	}{
		{"Enqueue", enqueueStories},
		{"Lease", leaseStories},
		{"Schedule", scheduleStories},
		{"Hold", holdStories},
		{"Lost", lostStories},
		{"Suspect", suspectStories},
		{"Finish", finishStories},
		{"Group", groupStories},
		{"Chord", chordStories},
		{"Reserve", reserveStories},
		{"Abort", abortStories},
		{"Keep", keepStories},
		{"Depth", depthStories},
		{"Watch", watchStories},
		{"List", listStories},
		{"Change", changeStories},
		{"Purge", purgeStories},
		{"Expire", expireStories},
		{"Unique", uniqueStories},
		{"Pause", pauseStories},
		{"Rate", rateStories},
		{"Log", logStories},
		{"Text", textStories},
		{"Close", closeStories},
	} {
		t.Run(g.name, func(t *testing.T) {
			for _, st := range g.stories {
				t.Run(st.promise, func(t *testing.T) {
					t.Parallel()
					st.tell(s, t)
				})
			}
		})
	}
}

type suite struct {
	open    func(t *testing.T, o Options) driver.Store
	MaxLost int
}

// story is one promise and the attempt to break it.
type story struct {
	promise string
	tell    func(*suite, *testing.T)
}
