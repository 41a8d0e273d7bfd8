package schedule_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// moments returns the occurrences of a schedule from one time up to, but not including,
// another.
func moments(t *testing.T, text string, from, to time.Time) (all []time.Time) {
	t.Helper()
	s, err := schedule.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for at := s.Next(from.Add(-time.Second)); !at.IsZero() && at.Before(to); at = s.Next(at) {
		if len(all) > 0 && !at.After(all[len(all)-1]) {
			t.Fatalf("%s: %v comes after %v", text, at, all[len(all)-1])
		}
		all = append(all, at)
	}
	return all
}

// A fixed time in a skipped hour runs right after that hour. A fixed time in a repeated hour
// runs only the first time. Schedules with a wildcard follow the clock.
func TestScheduleOverClockChanges(t *testing.T) {
	for _, c := range []struct{ text, from, to, want string }{
		// Berlin: 02:00 to 03:00 on 29 March 2026, 03:00 to 02:00 on 25 October.
		{"CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z",
			"2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z",
			"2026-10-24T00:30:00Z 2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"CRON_TZ=Europe/Berlin 0,30 2 * * *", "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z",
			"2026-03-29T01:00:00Z 2026-03-29T01:00:01Z 2026-03-30T00:00:00Z"},
		{"CRON_TZ=Europe/Berlin 0 2,3 * * *", "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z",
			"2026-03-29T01:00:00Z 2026-03-29T01:00:01Z 2026-03-30T00:00:00Z"},
		{"CRON_TZ=Europe/Berlin 0 2,3 * * *", "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z",
			"2026-10-25T00:00:00Z 2026-10-25T02:00:00Z"},
		{"CRON_TZ=Europe/Berlin */30 * * * *", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z",
			"2026-03-29T00:00:00Z 2026-03-29T00:30:00Z 2026-03-29T01:00:00Z 2026-03-29T01:30:00Z"},
		{"CRON_TZ=Europe/Berlin @hourly", "2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z",
			"2026-10-24T23:00:00Z 2026-10-25T00:00:00Z 2026-10-25T01:00:00Z 2026-10-25T02:00:00Z"},
		{"CRON_TZ=Europe/Berlin */30 2 * * *", "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z",
			"2026-03-30T00:00:00Z"},
		{"CRON_TZ=Europe/Berlin 15 30 2 29 3 *", "2026-03-01T00:00:00Z", "2027-03-30T00:00:00Z",
			"2026-03-29T01:00:00Z 2027-03-29T00:30:15Z"},
		{"CRON_TZ=Europe/Berlin 30 2 * * 7", "2026-03-22T00:00:00Z", "2026-04-06T00:00:00Z",
			"2026-03-22T01:30:00Z 2026-03-29T01:00:00Z 2026-04-05T00:30:00Z"},
		// Cairo: 24 April 2026 begins at 01:00, 29 October has 23:00 twice.
		{"CRON_TZ=Africa/Cairo @daily", "2026-04-22T00:00:00Z", "2026-04-25T00:00:00Z",
			"2026-04-22T22:00:00Z 2026-04-23T22:00:00Z 2026-04-24T21:00:00Z"},
		{"CRON_TZ=Africa/Cairo 0 0 * * FRI", "2026-04-20T00:00:00Z", "2026-05-01T00:00:00Z",
			"2026-04-23T22:00:00Z 2026-04-30T21:00:00Z"},
		{"CRON_TZ=Africa/Cairo 30 23 * * *", "2026-10-29T00:00:00Z", "2026-10-31T00:00:00Z",
			"2026-10-29T20:30:00Z 2026-10-30T21:30:00Z"},
		// Apia had no 30 December 2011: the date line moved, not the clock.
		{"CRON_TZ=Pacific/Apia 0 12 * * *", "2011-12-28T00:00:00Z", "2012-01-01T00:00:00Z",
			"2011-12-28T22:00:00Z 2011-12-29T22:00:00Z 2011-12-30T22:00:00Z 2011-12-31T22:00:00Z"},
	} {
		from, _ := time.Parse(time.RFC3339, c.from)
		to, _ := time.Parse(time.RFC3339, c.to)
		var got []string
		for _, at := range moments(t, c.text, from, to) {
			got = append(got, at.Format(time.RFC3339))
		}
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", c.text, got, want)
		}
	}
}

// walk is an independent implementation: it steps through real time, reads the local
// clock and applies the rules literally.
func walk(specs []cronSpec, zone *time.Location, from, to time.Time, step time.Duration) [][]time.Time {
	shows := func(t time.Time) time.Time {
		_, offset := t.In(zone).Zone()
		return t.UTC().Add(time.Duration(offset) * time.Second)
	}
	all := make([][]time.Time, len(specs))
	before := shows(from.Add(-step))
	shown := before // the latest time that the clock has shown
	for t := from; t.Before(to); t = t.Add(step) {
		wall := shows(t)
		jump := wall.Sub(before) - step
		if jump.Abs() > 3*time.Hour {
			shown = before.Add(jump)
		}
		for i := range specs {
			if specs[i].matches(wall) && (specs[i].wild || wall.After(shown)) {
				all[i] = append(all[i], t.UTC())
			}
			if jump > 0 && jump <= 3*time.Hour && !specs[i].wild {
				all[i] = append(all[i], makeUp(&specs[i], t, wall, jump, step)...)
			}
		}
		if wall.After(shown) {
			shown = wall
		}
		before = wall
	}
	for i := range all {
		slices.SortFunc(all[i], time.Time.Compare)
	}
	return all
}

// makeUp returns the time at which the skipped local time wall runs, if the clock was
// changed at t: in a free second within five minutes.
func makeUp(spec *cronSpec, t, wall time.Time, jump, step time.Duration) (all []time.Time) {
	second, span := t, min(jump, 5*time.Minute)
	for missed := wall.Add(-jump); missed.Before(wall); missed = missed.Add(step) {
		if !spec.matches(missed) {
			continue
		}
		for second.Sub(t) < span && spec.matches(wall.Add(second.Sub(t))) {
			second = second.Add(time.Second)
		}
		if second.Sub(t) >= span {
			break
		}
		all = append(all, second.UTC())
		second = second.Add(time.Second)
	}
	return all
}

// cronSpec is a schedule of six numeric fields, parsed independently.
type cronSpec struct {
	second, minute, hour, dom, month, dow [60]bool
	wild, either                          bool
}

func readSpec(text string) (s cronSpec) {
	fields := strings.Fields(text)
	if len(fields) == 5 {
		fields = slices.Insert(fields, 0, "0")
	}
	firsts, lasts := []int{0, 0, 0, 1, 1, 0}, []int{59, 59, 23, 31, 12, 7}
	for i, values := range []*[60]bool{&s.second, &s.minute, &s.hour, &s.dom, &s.month, &s.dow} {
		for part := range strings.SplitSeq(fields[i], ",") {
			span, stepText, _ := strings.Cut(part, "/")
			step, _ := strconv.Atoi(stepText)
			lowText, highText, isRange := strings.Cut(span, "-")
			low, _ := strconv.Atoi(lowText)
			high, _ := strconv.Atoi(highText)
			if !isRange {
				high = low
			}
			if span == "*" {
				low, high = firsts[i], lasts[i]
			}
			for n := low; n <= high; n += max(step, 1) {
				values[n] = true
			}
		}
	}
	s.dow[0] = s.dow[0] || s.dow[7]
	s.wild = strings.Contains(fields[0]+fields[1]+fields[2], "*")
	s.either = fields[3][0] != '*' && fields[5][0] != '*'
	return s
}

func (s *cronSpec) matches(t time.Time) bool {
	if !s.second[t.Second()] || !s.minute[t.Minute()] || !s.hour[t.Hour()] || !s.month[t.Month()] {
		return false
	}
	dom, dow := s.dom[t.Day()], s.dow[t.Weekday()]
	if s.either {
		return dom || dow
	}
	return dom && dow
}

var clockZones = []string{
	"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Santiago",
	"Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Kolkata", "Pacific/Apia", "Antarctica/Troll",
}

// All occurrences in two years, in steps of five minutes, and in a year after the end of
// the zone tables, equal those of walk.
func TestScheduleInEveryZone(t *testing.T) {
	t.Parallel()
	specs := []string{
		"30 2 * * *", "0,30 2 * * *", "0 0 * * *", "0-55/5 2 * * *", "15 1-3 * * 1-5", "0 2 * * 7", "30 23 * * 5-7", "0 1 1-7 * 0-7",
		"*/30 * * * *", "0 * * * *", "30 */2 * * *", "*/20 2 * * *", "0 0 13 * 5", "0 0 */2 * 1", "45 1 29 2 *", "0 2 25-31 3,10 *",
	}
	for _, years := range [][2]int{{2027, 2029}, {2040, 2041}} { // both with a leap year
		from, to := time.Date(years[0], 1, 1, 0, 0, 0, 0, time.UTC), time.Date(years[1], 1, 1, 0, 0, 0, 0, time.UTC)
		for _, zone := range clockZones {
			compare(t, zone, from, to, 5*time.Minute, specs...)
		}
	}
}

// Schedules with seconds, in steps of a second, on the days of clock changes.
func TestScheduleWithSecondsInEveryZone(t *testing.T) {
	t.Parallel()
	changes := func(name string, specs ...string) {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2027; at = at.Add(24 * time.Hour) {
			_, before := at.In(zone).Zone()
			if _, after := at.Add(24 * time.Hour).In(zone).Zone(); before != after {
				compare(t, name, at.Add(-3*time.Hour), at.Add(27*time.Hour), time.Second, specs...)
			}
		}
	}
	for _, zone := range clockZones {
		changes(zone, "15,45 30 2 * * *", "59 59 23,0-3 * * *", "*/20 * 2 * * *", "* 0 0 * * *", "0-59 58-59 0-3 * * *")
	}
	// The first of these schedules leaves no free second for the skipped times.
	changes("Australia/Lord_Howe", "0-59 0-59 0-23 * * *", "0-59/2 0-59 0-23 * * *", "0-59 0-59 2 * * 7")
}

// compare compares the occurrences of schedules in a zone with those of walk.
func compare(t *testing.T, name string, from, to time.Time, step time.Duration, texts ...string) {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	var specs []cronSpec
	for _, text := range texts {
		specs = append(specs, readSpec(text))
	}
	for i, want := range walk(specs, zone, from, to, step) {
		sameMoments(t, "CRON_TZ="+name+" "+texts[i], from, to, want)
	}
}

func sameMoments(t *testing.T, text string, from, to time.Time, want []time.Time) {
	t.Helper()
	got := moments(t, text, from, to)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !got[i].Equal(want[i]) {
			t.Errorf("%s: %d occurrences, want %d; occurrence %d differs:\n got %v\nwant %v", text, len(got), len(want), i,
				got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
			return
		}
	}
}

// Across a clock change each occurrence is one task. A scheduler that starts later than
// MakeUp after the change enqueues only the last occurrence.
func TestSchedulerOverClockChanges(t *testing.T) {
	tasks, err := jobs.NewRegistry(jobs.Definition{Name: "night", Handler: func(context.Context, *jobs.Job) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	// In a synctest bubble, time starts at 2000-01-01T00:00:00Z. In 2000 the clocks
	// of Berlin went forward on 26 March and back on 29 October, both at 01:00 UTC.
	spring, autumn := time.Date(2000, 3, 26, 1, 0, 0, 0, time.UTC), time.Date(2000, 10, 29, 1, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, schedule string
		marked         time.Time // time until which an earlier scheduler has run
		begin, end     time.Time
		want           []time.Time
	}{
		{"running in spring", "0,30 2 * * *", spring.Add(-12 * time.Hour), spring.Add(-time.Minute), spring.Add(time.Hour), []time.Time{spring, spring.Add(time.Second)}},
		{"started within ten seconds", "0,30 2 * * *", spring.Add(-12 * time.Hour), spring.Add(8 * time.Second), spring.Add(time.Hour), []time.Time{spring, spring.Add(time.Second)}},
		{"started an hour later", "0,30 2 * * *", spring.Add(-12 * time.Hour), spring.Add(time.Hour), spring.Add(2 * time.Hour), []time.Time{spring.Add(time.Second)}},
		{"running in autumn", "30 2 * * *", autumn.Add(-12 * time.Hour), autumn.Add(-time.Hour), autumn.Add(time.Hour), []time.Time{autumn.Add(-30 * time.Minute)}},
		{"between the two", "30 2 * * *", autumn.Add(-30 * time.Minute), autumn, autumn.Add(time.Hour), nil},
		{"after both", "30 2 * * *", autumn.Add(-12 * time.Hour), autumn.Add(time.Hour), autumn.Add(2 * time.Hour), []time.Time{autumn.Add(-30 * time.Minute)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				every, err := schedule.Parse("CRON_TZ=Europe/Berlin " + c.schedule)
				if err != nil {
					t.Fatal(err)
				}
				store := &marking{counting: counting{accepted: map[string]int{}}, marks: map[string]time.Time{"schedule:night": c.marked}}
				time.Sleep(time.Until(c.begin))
				ctx, cancel := context.WithCancel(t.Context())
				var ended sync.WaitGroup
				for range 2 {
					s := schedule.New(&jobs.Client{Store: store, Tasks: tasks}, store,
						[]schedule.Periodic{{Schedule: every, Once: true, Task: jobs.NewTask{Name: "night"}}}, nil)
					ended.Go(func() { _ = s.Run(ctx) }) // ends with ctx
				}
				time.Sleep(time.Until(c.end))
				cancel()
				ended.Wait()
				var want []string
				for _, at := range c.want {
					want = append(want, schedule.ID("night", at))
				}
				if got := slices.Sorted(maps.Keys(store.accepted)); !slices.Equal(got, want) {
					t.Errorf("started %v, want %v", got, want)
				}
				mark := c.marked
				if len(c.want) > 0 {
					mark = c.want[len(c.want)-1]
				}
				if got := store.marks["schedule:night"]; !got.Equal(mark) {
					t.Errorf("marked %v, want %v", got, mark)
				}
			})
		})
	}
}
