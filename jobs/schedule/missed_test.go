package schedule_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// marking is a counting store that also stores marks.
type marking struct {
	counting
	marks map[string]time.Time
}

func (m *marking) Mark(_ context.Context, name string, to time.Time) (was time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return was, jobs.ErrUnavailable
	}
	was = m.marks[name]
	if to.After(was) {
		m.marks[name] = to
	}
	return was, nil
}

// With Once, only the last missed occurrence is enqueued. For a new schedule none is
// enqueued.
func TestMissedMoments(t *testing.T) {
	tasks, err := jobs.NewRegistry(jobs.Definition{Name: "nightly", Handler: func(context.Context, *jobs.Job) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string][]string{ // the bubble's time begins at 2000-01-01T00:00:00Z
		"0 3 * * *": {"nightly-20000101T030000Z", "nightly-20000111T030000Z", "nightly-20000112T030000Z"},
		"0 3 1 * *": {"nightly-20000101T030000Z"},
		"@every 1h": nil, // too many to list
	} {
		for _, once := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				store := &marking{counting: counting{accepted: map[string]int{}}, marks: map[string]time.Time{}}
				every, err := schedule.Parse(spec)
				if err != nil {
					t.Fatal(err)
				}
				run := func() (stop func()) {
					ctx, cancel := context.WithCancel(t.Context())
					p := []schedule.Periodic{{Schedule: every, Once: once, Task: jobs.NewTask{Name: "nightly"}}}
					s := schedule.New(&jobs.Client{Store: store, Tasks: tasks}, store, p, nil)
					var ended sync.WaitGroup
					ended.Go(func() { _ = s.Run(ctx) }) // ends with ctx
					return func() { cancel(); ended.Wait() }
				}
				time.Sleep(90 * time.Minute) // not at an occurrence, where a scheduler starts or ends
				first := run()
				time.Sleep(3 * time.Hour)
				first()
				time.Sleep(10 * 24 * time.Hour)
				store.mu.Lock()
				store.away = true
				store.mu.Unlock()
				second, third := run(), run()
				time.Sleep(time.Minute)
				store.mu.Lock()
				store.away = false
				store.mu.Unlock()
				time.Sleep(time.Minute)
				second()
				third()
				fourth := run()
				time.Sleep(24 * time.Hour)
				fourth()
				var got []string
				for id := range store.accepted {
					got = append(got, id)
				}
				slices.Sort(got)
				expect := slices.Clone(want)
				if want == nil {
					made := 3 + 24 // while a scheduler ran
					if once {
						made++
					}
					if len(got) != made {
						t.Errorf("%s, once %v: %d occurrences, want %d: %v", spec, once, len(got), made, got)
					}
					return
				}
				if !once && len(expect) == 3 {
					expect = slices.Delete(expect, 1, 2)
				}
				if n := store.accepted["nightly-20000101T030000Z"]; n != 1 { // by then the store may have forgotten it
					t.Errorf("%s, once %v: an occurrence that was not missed was enqueued %d times", spec, once, n)
				}
				if !slices.Equal(got, expect) {
					t.Errorf("%s, once %v: %v, want %v", spec, once, got, expect)
				}
			})
		}
	}
}
