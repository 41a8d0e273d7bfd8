package realtime

import (
	"slices"
	"testing"
	"testing/synctest"
)

// notes is a wire that keeps what is written.
type notes struct{ written []string }

func (n *notes) write(it item) error { n.written = append(n.written, string(it.data)); return nil }
func (n *notes) writeFailed(error)   {}

// Items that are sent before the end of the handshake, such as the close frame of a
// draining process, wait for it.
func TestOutboxWaitsForHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, wire := New(Options{}), &notes{}
		o := &outbox{hub: h, wire: wire, writing: true}
		for _, text := range []string{"a", "b"} {
			if err := o.enqueue(item{data: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(wire.written) > 0 {
			t.Errorf("written before it was released: %q", wire.written)
		}
		o.unblock()
		h.goroutines.Wait()
		if !slices.Equal(wire.written, []string{"a", "b"}) {
			t.Errorf("written: %q", wire.written)
		}
	})
}
