package workerapi

import (
	"testing"
	"time"
)

// A deadline follows the monotonic clock once a process has seen the lease.
func TestOverdue(t *testing.T) {
	now := time.Now()
	wall := func(d time.Duration) time.Time { return time.UnixMilli(now.Add(d).UnixMilli()) }
	early := leaseID{session: "w~1", attempt: 1, task: "a", deadline: wall(time.Minute)}
	late := leaseID{session: "w~1", attempt: 1, task: "b", deadline: wall(-time.Minute)}
	never := leaseID{session: "w~1", attempt: 1, task: "c"}
	for _, c := range []struct {
		name  string
		first []leaseID // seen before
		set   time.Duration
		after time.Duration
		want  []leaseID
	}{
		{"first sight", nil, 0, 0, []leaseID{late}},
		{"set forward before the first sight", nil, time.Hour, 0, nil},
		{"set back", nil, -time.Hour, 0, []leaseID{late}},
		{"a minute later", []leaseID{early, late, never}, 0, 61 * time.Second, []leaseID{early, late}},
		{"set forward after the first sight", []leaseID{early, never}, time.Hour, 30 * time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var contact contact
			contact.overdue(c.first, now, 0)
			got := contact.overdue([]leaseID{early, late, never}, now.Add(c.after), c.set)
			if len(got) != len(c.want) {
				t.Errorf("overdue: %v, want %v", got, c.want)
			}
			for _, id := range c.want {
				if !got[id] {
					t.Errorf("%s is not overdue", id.task)
				}
			}
		})
	}
}
