package realtime

import (
	"context"
	"runtime/debug"
	"time"
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
// collection could otherwise be minutes later.
func (h *Hub) releaseMemory(ctx context.Context) {
	ticker := time.NewTicker(burstGap)
	defer ticker.Stop()
	for total := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		h.mu.Lock()
		now := h.newConns
		h.newConns = 0
		h.mu.Unlock()
		total += now
		if now > burstSize/100 || total == 0 {
			continue // the burst continues, or there was none
		}
		if total >= burstSize {
			debug.FreeOSMemory()
		}
		total = 0
	}
}
