package prefork

import (
	"testing"
	"time"
)

// A stalled process recovers with a heartbeat, also if the clock was set back in the meantime.
func TestClockIsSetBackWhileStalled(t *testing.T) {
	now := time.Now()
	p := &process{state: StateStalled, since: now.Add(time.Hour), readyAt: now, counters: &Counters{}}
	m := &monitor{slots: &slotTable{all: []*slot{{current: p}}}, lastCheck: now.Add(time.Hour).Round(0)}
	m.resetAfterPause(now)
	p.counters.setHeartbeat(now.Add(time.Second))
	if !p.heartbeatSinceStall() {
		t.Errorf("the heartbeat does not count; stalled since %v", p.since)
	}
}
