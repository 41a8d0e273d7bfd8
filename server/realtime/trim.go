package realtime

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// quiet is how long a rush of new connections must be over.
	burstGap = time.Second
	// rush is how many connections are one.
	burstSize = 1000
)

// trim gives back, when a rush of new connections is over, what their handshakes
// have left behind: idle connections allocate nothing, so the next collection
// may be minutes away, and a third of the process's memory would be garbage. It
// ends with ctx.
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
			continue // it goes on, or there was none
		}
		if total >= burstSize {
			debug.FreeOSMemory()
		}
		total = 0
	}
}
