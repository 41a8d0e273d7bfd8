package prefork

import (
	"log/slog"
	"slices"
	"testing"
)

// recordedControl records the messages to a child.
type recordedControl struct {
	closedControl
	sent []string
}

func (c *recordedControl) Send(text string, _ int) error {
	c.sent = append(c.sent, text)
	return nil
}

// newSteering makes a steering with n live slots. attached holds the indexes of the sockets
// in the last program.
func newSteering(t *testing.T, n int) (st *steering, controls []*recordedControl, attached *[]int) {
	t.Helper()
	table := &slotTable{removed: map[string]savedStats{}}
	attached = new([]int)
	sys := &system{
		acceptQueue: func(int) int { return 0 },
		attachSteering: func(_ int, weights []socketWeight) error {
			*attached = nil
			for _, w := range weights {
				*attached = append(*attached, w.index)
			}
			return nil
		},
	}
	group := &sockets{sys: sys}
	for i := range n {
		s, err := table.create(Role{Name: "serve", Listens: true}, i)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { table.release(s) })
		s.listener = i // not a real descriptor: the functions of sys do not use it
		c := &recordedControl{}
		p := &process{slot: s, state: StateLive, control: c}
		p.counters, p.index = s.page.claim(1)
		s.current = p
		controls = append(controls, c)
		group.group = append(group.group, s)
	}
	return &steering{sys: sys, log: slog.New(slog.DiscardHandler), sockets: group}, controls, attached
}

func TestSteeringAvoidsAStalledSlotUntilItRecovers(t *testing.T) {
	st, controls, attached := newSteering(t, 3)
	stalled := st.sockets.group[1]
	st.sockets.group[0].current.counters.Connections.Store(7)
	st.update()
	if !slices.Equal(*attached, []int{0, 1, 2}) {
		t.Errorf("steered to %v; want all slots", *attached)
	}
	stalled.current.state = StateStalled
	st.update()
	st.update() // must not adopt a second time
	if !slices.Equal(*attached, []int{0, 2}) {
		t.Errorf("steered to %v; want all but the stalled slot", *attached)
	}
	if !slices.Equal(controls[2].sent, []string{"adopt serve.1"}) || len(controls[0].sent)+len(controls[1].sent) > 0 {
		t.Errorf("sent %q, %q, %q; want an adoption by the slot with the fewest connections", controls[0].sent, controls[1].sent, controls[2].sent)
	}
	stalled.current.state = StateLive
	st.update()
	if !slices.Equal(controls[2].sent, []string{"adopt serve.1", "release serve.1"}) || slices.Contains(*attached, 1) {
		t.Errorf("sent %q, steered to %v; want the adoption to end before new connections go to the slot", controls[2].sent, *attached)
	}
	st.update()
	if !slices.Equal(*attached, []int{0, 1, 2}) {
		t.Errorf("steered to %v; want all slots again", *attached)
	}
}

// If an adopter stalls, another process adopts the socket.
func TestSteeringReplacesAStalledAdopter(t *testing.T) {
	st, controls, _ := newSteering(t, 3)
	st.sockets.group[0].current = nil
	st.sockets.group[2].current.counters.Connections.Store(7)
	st.update()
	st.sockets.group[1].current.state = StateStalled
	st.update()
	st.update()
	if !slices.Equal(controls[2].sent, []string{"adopt serve.1", "adopt serve.0"}) &&
		!slices.Equal(controls[2].sent, []string{"adopt serve.0", "adopt serve.1"}) {
		t.Errorf("sent %q; want both sockets adopted by the last live slot", controls[2].sent)
	}
}

// Without a live slot the last program stays attached, and connections stay in the accept
// queues.
func TestSteeringWithoutALiveSlot(t *testing.T) {
	st, controls, attached := newSteering(t, 1)
	st.update()
	st.sockets.group[0].current = nil
	st.update()
	if !slices.Equal(*attached, []int{0}) || len(controls[0].sent) > 0 {
		t.Errorf("steered to %v, sent %q", *attached, controls[0].sent)
	}
}
