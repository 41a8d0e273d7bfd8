//go:build e2e

package processes_test

import (
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// TestE2EStatsdOverAReload: the counters of all processes arrive every ten seconds, also from
// server worker without an admin endpoint, and a reload repeats none of them.
func TestE2EStatsdOverAReload(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0", "-statsd", d.address)
	harness.Start(t, t.TempDir(), "worker", "-procs", "1", "-statsd", d.address+"?prefix=web1", "-admin", "")
	sum := func() (total float64) {
		for _, slot := range []string{"serve_0", "serve_1"} {
			n, _ := d.value("gale.http_requests_total.200.GET." + slot)
			total += n
		}
		return total
	}
	request := func(n int) {
		for range n {
			if code, _, err := harness.Get(g.URL + "/"); code != 200 || err != nil {
				t.Fatal(code, err)
			}
		}
	}
	request(20)
	testutil.Eventually(t, "the requests arrive", func() bool { return sum() == 20 })
	before := g.Slots(t)
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "the slots are replaced", func() bool { return g.ServeSlotsReplaced(t, before) })
	made := 20
	testutil.Eventually(t, "requests after the reload arrive", func() bool {
		request(1)
		made++
		return sum() > 20
	})
	if got := sum(); got > float64(made) { // those between two masters may be missing
		t.Errorf("%v requests were sent, %d were made", got, made)
	}
	if up, _ := d.value("gale.statsd_up.master"); up != 1 {
		t.Errorf("gale.statsd_up is %v", up)
	}
	if n, _ := d.value("web1.slot_processes_total.worker_0"); n != 1 {
		t.Errorf("the worker has sent %v started processes", n)
	}
	if d.mu.Lock(); len(d.bad) > 0 {
		t.Errorf("not valid: %q", d.bad)
	}
	d.mu.Unlock()
}
