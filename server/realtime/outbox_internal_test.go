package realtime

import (
	"slices"
	"testing"
	"testing/synctest"
)

// recordingWire is a wire that records the data of all items.
type recordingWire struct{ written []string }

func (n *recordingWire) write(it item) error {
	n.written = append(n.written, string(it.data))
	return nil
}
func (n *recordingWire) tryWrite(it item) (func() error, error) { return nil, n.write(it) }
func (n *recordingWire) writeFailed(error)                      {}

// Items that are queued before the end of the handshake, such as the close frame of a draining
// process, are written after it.
func TestOutboxWaitsForHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, wire := New(Options{}), &recordingWire{}
		o := &outbox{hub: h, wire: wire, writing: true}
		for _, text := range []string{"a", "b"} {
			if err := o.enqueue(item{data: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(wire.written) > 0 {
			t.Errorf("written before unblock: %q", wire.written)
		}
		o.unblock()
		h.goroutines.Wait()
		if !slices.Equal(wire.written, []string{"a", "b"}) {
			t.Errorf("written: %q", wire.written)
		}
	})
}
