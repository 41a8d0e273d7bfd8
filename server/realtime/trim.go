package realtime

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/galeserver/gale/internal/sleep"
)

const (
	// burstGap is the interval in which new connections are counted. A burst has ended
	// after an interval with few new connections.
	burstGap = time.Second
	// burstSize is the minimum number of new connections in a burst.
	burstSize = 1000
)

// releaseMemory runs a garbage collection after each burst of new connections, and returns
// the memory to the system, until ctx ends. The handshakes leave much garbage: about a
// third of the memory of the process. Idle connections allocate nothing, so the next
// collection could otherwise be minutes later. Without new connections nothing ticks.
func (h *Hub) releaseMemory(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.opened:
		}
		total := 0
		for now := burstSize; now > burstSize/100; total += now {
			if !sleep.Aligned(ctx, burstGap) {
				return
			}
			h.mu.Lock()
			now = h.newConns
			h.newConns = 0
			h.mu.Unlock()
		}
		if total >= burstSize {
			debug.FreeOSMemory()
		}
	}
}
