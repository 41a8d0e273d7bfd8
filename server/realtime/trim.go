package realtime

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// burstGap is how long no burst of new connections must have occurred.
	burstGap = time.Second
	// burstSize is how many new connections count as a burst.
	burstSize = 1000
)

// releaseMemory returns the garbage of many handshakes to the system after a burst of
// new connections. Idle connections allocate nothing, so the next collection may be
// minutes away, and a third of the process's memory would be garbage. It ends with
// ctx.
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
