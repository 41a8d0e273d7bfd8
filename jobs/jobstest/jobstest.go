// Package jobstest is the conformance suite that every jobs.Store passes. Each
// story in it states one promise of the interface and tries to break it; what
// only one technology promises, power loss and full disks among it, is tested
// where that is implemented.
package jobstest

import (
	"cmp"
	"testing"
	"time"

	"gale/jobs"
)

// Options say how the stores under test were made.
type Options struct {
	// LeaseTTL is that of the stores. Several stories wait until leases
	// expire, so it should be short, but long enough for the machine to answer
	// within it. Default 500 ms.
	LeaseTTL time.Duration
	// MaxLost is that of the stores. Default jobs.DefaultMaxLost.
	MaxLost int
}

// Run runs the suite as subtests of t, one after the other, for some of them
// measure time. open returns another handle on a store: all calls with one t
// share it, as processes would, and for each t it is a new, empty one. keep is
// how long tasks are kept that have ended, 0 for the default. The suite closes
// the handles.
func Run(t *testing.T, open func(t *testing.T, keep time.Duration) jobs.Store, o Options) {
	o.LeaseTTL = cmp.Or(o.LeaseTTL, 500*time.Millisecond)
	o.MaxLost = cmp.Or(o.MaxLost, jobs.DefaultMaxLost)
	s := &suite{open: open, Options: o}
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
				t.Run(st.promise, func(t *testing.T) { st.tell(s, t) })
			}
		})
	}
}

type suite struct {
	open func(t *testing.T, keep time.Duration) jobs.Store
	Options
}

// story is one promise and the attempt to break it.
type story struct {
	promise string
	tell    func(*suite, *testing.T)
}
