package realtime

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// quiet is how long a rush of new connections must be over.
	quiet = time.Second
	// rush is how many connections are one.
	rush = 1000
)

// trim gives back, when a rush of new connections is over, what their handshakes
// have left behind: idle connections allocate nothing, so the next collection
// may be minutes away, and a third of the process's memory would be garbage. It
// ends with ctx.
func (h *Hub) trim(ctx context.Context) {
	ticker := time.NewTicker(quiet)
	defer ticker.Stop()
	for came := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		h.mu.Lock()
		now := h.opened
		h.opened = 0
		h.mu.Unlock()
		came += now
		if now > rush/100 || came == 0 {
			continue // it goes on, or there was none
		}
		if came >= rush {
			debug.FreeOSMemory()
		}
		came = 0
	}
}
