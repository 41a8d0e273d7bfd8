package realtime

// Parked returns the number of connections that wait for a frame without a goroutine.
func (h *Hub) Parked() int {
	h.parking.mu.Lock()
	defer h.parking.mu.Unlock()
	return len(h.parking.conns)
}

// Running reports whether connections can be parked.
func (h *Hub) Running() bool {
	h.parking.mu.Lock()
	defer h.parking.mu.Unlock()
	return h.parking.set != nil
}

// Abort ends the connection without a close frame.
func (c *Conn) Abort() { c.abort() }

// ParkAtOnce makes connections park without the pause after a message. It must be called
// before the first connection.
func (h *Hub) ParkAtOnce() { h.stay = 0 }
