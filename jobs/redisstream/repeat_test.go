package redisstream_test

import (
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs/redisstream"
)

// If a lease call is sent twice and the first reply is lost, the next call releases what
// the first run leased: the tasks do not wait for the end of a lease that nobody has.
func TestRepeatedLease(t *testing.T) {
	s := open(t, redistest.Start(t).URL(), redisstream.Options{LeaseTTL: time.Hour})
	enqueue(t, s, "first") // loads the script
	if n := len(lease(t, s, work("w", 1), time.Minute)); n != 1 {
		t.Fatalf("%d leases", n)
	}
	enqueue(t, s, "a", "b")
	s.RepeatLease()
	if n := len(lease(t, s, work("w", 2), time.Minute)); n != 2 {
		t.Errorf("%d leases", n)
	}
}
