package schedule

import (
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

// When the clock is set back, schedules with a wildcard and intervals go on at once, with ids of
// their own. Fixed times are repeated only after a large step.
func TestSetBack(t *testing.T) {
	reached := time.Date(2026, 1, 2, 12, 0, 30, 0, time.UTC)
	for _, c := range []struct {
		text string
		back time.Duration
		want string // id of the next task
	}{
		{"@every 1m", time.Hour, "work-20260102T110100Z-2"},
		{"* * * * *", time.Hour, "work-20260102T110100Z-2"},
		{"0 3 * * *", time.Hour, "work-20260103T030000Z"},
		{"0 12 * * *", time.Hour, "work-20260103T120000Z"},
		{"0 12 * * *", 25 * time.Hour, "work-20260101T120000Z-2"},
	} {
		t.Run(c.text+" "+c.back.String(), func(t *testing.T) {
			s, err := Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			p := &plan{Periodic: Periodic{Schedule: s, Task: jobs.NewTask{Name: "work"}}, from: s.last(reached.Add(-48*time.Hour), reached)}
			p.setBack(reached.Add(-c.back), c.back)
			if id := p.id(s.Next(p.from)); id != c.want {
				t.Errorf("next is %s, want %s", id, c.want)
			}
			if at := reached.Add(48 * time.Hour); p.id(at) != ID("work", at) {
				t.Errorf("a later id is %s", p.id(at))
			}
			p.setBack(reached.Add(-c.back), c.back)
			if id := p.id(s.Next(p.from)); len(p.reached) > 0 && id != c.want[:len(c.want)-1]+"3" {
				t.Errorf("after a second step: %s", id)
			}
		})
	}
}
