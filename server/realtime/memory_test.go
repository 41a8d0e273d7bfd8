package realtime_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/realtime"
)

// heap returns the size of the heap after a garbage collection, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A client that does not read needs no extra memory, no matter how many messages are
// published: the ring is shared by all clients. This test does not run in parallel.
func TestSlowSubscriberMemory(t *testing.T) {
	b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{})
	s := open(t, realtime.Options{}, dataHandler(t, b, nil))
	wantText(t, dial(t, s), "begin") // this client reads nothing more
	reader := dial(t, s)
	wantText(t, reader, "begin")
	data := strings.Repeat("x", 100_000)
	publishMany := func(messages int) {
		for range messages {
			publish(t, b, "a", data)
			wantText(t, reader, data)
		}
	}
	publishMany(20) // fills the history in this process and in Redis
	before := heap()
	publishMany(300)
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap has grown by %d KiB over %d KiB of messages", grown>>10, 300*len(data)>>10)
	}
	if n := s.hub.Len(); n != 2 {
		t.Errorf("%d connections are left", n)
	}
}

// After a burst of new connections, the memory of their handshakes is returned to the system.
// This test does not run in parallel.
func TestMemoryAfterBurst(t *testing.T) {
	s := open(t, realtime.Options{}, echoes)
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	before := forced()
	for range 1000 {
		dialRaw(t, s, "")
	}
	testutil.Eventually(t, "a forced collection", func() bool { return forced() > before })
}
