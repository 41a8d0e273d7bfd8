//go:build e2e

package realtime_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// TestE2EBackpressure reads a million messages at a megabyte a second. All are received
// in order, and the child buffers no more than the limit for a client.
func TestE2EBackpressure(t *testing.T) {
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	pid := g.Slots(t)["serve.0"].PID
	before := harness.PeakMemory(t, pid)
	const count, rate = 1_000_000, 1 << 20
	c := narrow(t, g, fmt.Sprintf("/backpressure?n=%d&ms=0", count))
	if _, text, err := c.ReadMessage(); err != nil || string(text) != backpressureHello {
		t.Fatalf("%q, %v", text, err)
	}
	began, read := time.Now(), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range count {
		for time.Since(began) < time.Duration(read)*time.Second/rate {
			<-tick.C
		}
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		text, err := io.ReadAll(r)
		if err != nil || string(text) != fmt.Sprint("Message ", i) {
			t.Fatalf("message %d: %q, %v", i, text, err)
		}
		read += len(text)
	}
	grown := harness.PeakMemory(t, pid) - before
	t.Logf("%d bytes in %v, the memory of the child grew by %d KiB", read, time.Since(began).Round(time.Second), grown>>10)
	if grown > 16<<20 {
		t.Errorf("the memory of the child grew by %d KiB", grown>>10)
	}
	if strings.Contains(g.Log.String(), "too slow") {
		t.Errorf("log: %s", g.Log)
	}
}

// TestE2EReloadMovesChannelClients is TestReloadMovesChannelClients with 2,000
// clients.
func TestE2EReloadMovesChannelClients(t *testing.T) {
	harness.OnStateServers(t, func(t *testing.T, flags []string) { reloadUnder(t, 2000, flags) })
}
