package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/jobs/sqlite"
)

func TestSchedule(t *testing.T) {
	from := time.Date(2026, 3, 28, 23, 59, 59, 5e8, time.UTC)
	for text, want := range map[string]string{
		"@every 1s":                         "2026-03-29T00:00:00Z",
		"@every 90s":                        "2026-03-29T00:00:00Z",
		"@every 7h":                         "2026-03-29T05:00:00Z",
		"*/5 * * * *":                       "2026-03-29T00:00:00Z",
		"30 * * * * *":                      "2026-03-29T00:00:30Z",
		"@daily":                            "2026-03-29T00:00:00Z",
		"0 12 * * MON":                      "2026-03-30T12:00:00Z",
		"CRON_TZ=Europe/Berlin 0 12 30 3 *": "2026-03-30T10:00:00Z",
		"CRON_TZ=Europe/Berlin 0 12 28 3 *": "2027-03-28T10:00:00Z",
		" TZ=Europe/Berlin  @daily ":        "2026-03-29T22:00:00Z",
		"0 12 * * 7":                        "2026-03-29T12:00:00Z",
		"0 12 * * 1-7":                      "2026-03-29T12:00:00Z",
		"0 12 * * 5-7":                      "2026-03-29T12:00:00Z",
		"0 12 * * 0-7":                      "2026-03-29T12:00:00Z",
		"0 12 * * 1-7/3":                    "2026-03-29T12:00:00Z",
		"0 12 * * fri,7":                    "2026-03-29T12:00:00Z",
		"0 12 1 * 1":                        "2026-03-30T12:00:00Z", // the first, or a Monday
		"0 12 */2 * 2":                      "2026-03-31T12:00:00Z", // an odd day, and a Tuesday
		"0 0 29 2 *":                        "2028-02-29T00:00:00Z",
		"0 0 29 2 */7":                      "2032-02-29T00:00:00Z", // a Sunday
	} {
		s, err := schedule.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.Next(from).Format(time.RFC3339); got != want {
			t.Errorf("%s: next %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{
		"", " ", "TZ=UTC", "CRON_TZ=UTC", "CRON_TZ=UTC ", "TZ=", "CRON_TZ=UTC TZ=UTC * * * * *", "CRON_TZ=UTC @every 1h", "TZ=Mars/Base * * * * *", "* * * *", "* * * * * * *", "61 * * * *", "0 0 30 2 *",
		"@every 0s", "@every -1s", "@every 1ms", "@every 1500ms", "@every", "@never", "\x00", strings.Repeat("1,", 500) + "1 * * * *",
		"70/5 * * * *", "61-5 * * * *", "0 24 * * *", "0 0 32-5 * *", "0 0 * * 8", "0 0 * * 8-2", "0 0 * * 7/2", "0 0 * * FRI-MON/2", "0 0 * NOV-FEB *", "1,,2 * * * *", "*/0 * * * *",
	} {
		if s, err := schedule.Parse(text); !errors.Is(err, schedule.ErrInvalid) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

// Time zones that differ between machines are refused, and the error names a valid form.
func TestScheduleZones(t *testing.T) {
	for text, want := range map[string]string{
		"CRON_TZ=Local 0 3 * * *":     "CRON_TZ=Local differs between machines: set a time zone by name, such as CRON_TZ=Europe/Berlin",
		"TZ=Local 0 3 * * *":          "CRON_TZ=Local differs between machines: set a time zone by name, such as CRON_TZ=Europe/Berlin",
		"CRON_TZ=localtime 0 3 * * *": "CRON_TZ=localtime differs between machines: set a time zone by name, such as CRON_TZ=Europe/Berlin",
		"CRON_TZ= 0 3 * * *":          "CRON_TZ is empty: set a time zone, such as CRON_TZ=Europe/Berlin",
		"TZ=":                         "CRON_TZ is empty: set a time zone, such as CRON_TZ=Europe/Berlin",
		"CRON_TZ=Mars/Base 0 3 * * *": "CRON_TZ: unknown time zone Mars/Base",
		"CRON_TZ=UTC":                 "it is empty",
		"CRON_TZ=UTC @every 90s":      "@every takes no time zone",
		"0 0 30 2 *":                  "it has no occurrence",
		"0 0 * * 8":                   "day of week: 8 is above 7",
		"0 22-2 * * *":                "hour: the end of the range 22-2 is before its start",
	} {
		_, err := schedule.Parse(text)
		if want := fmt.Sprintf("invalid schedule: %q: %s", text, want); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{
		"TZ=UTC", "CRON_TZ=UTC 0 0 * * *", "@every 1h", "*/7 1-5,9 ? JAN-MAR MON#2", "CRON_TZ=Europe/Berlin 0-59 0-59 2 * * 5-7",
		"TZ=Australia/Lord_Howe 0 2 29 2 *", "CRON_TZ=Africa/Cairo @daily", "70/5 22-2 L * 7", "0 0 31 2,4,6,9,11 *",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := schedule.Parse(text)
		if err != nil {
			if !errors.Is(err, schedule.ErrInvalid) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		last := time.Unix(1_800_000_000, 5e8)
		for range 20 {
			next := s.Next(last)
			if next.IsZero() {
				t.Errorf("%q ends after %v", text, last)
				return
			}
			if !next.After(last) || next.Nanosecond() != 0 || next.Location() != time.UTC {
				t.Errorf("%q: %v comes after %v", text, next, last)
				return
			}
			if before := next.Add(-time.Second); !before.Before(last) && !s.Next(before).Equal(next) {
				t.Errorf("%q: %v comes after %v, %v a second before", text, next, last, s.Next(before))
				return
			}
			last = next
		}
	})
}

// counting is a store that only accepts tasks and can be made unavailable.
type counting struct {
	jobs.Store
	mu       sync.Mutex
	accepted map[string]int
	away     bool
}

func (c *counting) Enqueue(_ context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, false, jobs.ErrUnavailable
	}
	c.accepted[n.ID]++
	return &jobs.Task{ID: n.ID}, c.accepted[n.ID] == 1, nil
}

// Schedulers start and stop and the store is unavailable for a while; each occurrence is
// still one task. Only those that no scheduler could enqueue in time are missed.
func TestSchedulerMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, err := jobs.NewRegistry(jobs.Definition{Name: "tick", Handler: func(context.Context, *jobs.Job) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		store := &counting{accepted: map[string]int{}}
		every, err := schedule.Parse("@every 1s")
		if err != nil {
			t.Fatal(err)
		}
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			s := schedule.New(&jobs.Client{Store: store, Tasks: tasks}, nil, []schedule.Periodic{{Schedule: every, Task: jobs.NewTask{Name: "tick"}}}, nil)
			var ended sync.WaitGroup
			ended.Go(func() { _ = s.Run(ctx) }) // ends with ctx
			return func() { cancel(); ended.Wait() }
		}
		began := time.Now()
		first, second := run(), run()
		time.Sleep(10*time.Second + 500*time.Millisecond)
		first()
		time.Sleep(5 * time.Second)
		second()
		time.Sleep(5 * time.Second) // no scheduler runs, for less than MakeUp
		third := run()
		store.mu.Lock()
		store.away = true
		store.mu.Unlock()
		time.Sleep(5 * time.Second)
		store.mu.Lock()
		store.away = false
		store.mu.Unlock()
		time.Sleep(time.Second)
		third()
		for i := range 26 {
			id := schedule.ID("tick", began.Add(time.Duration(i)*time.Second))
			if store.accepted[id] == 0 {
				t.Errorf("occurrence %d was missed", i)
			}
		}
		time.Sleep(time.Minute)
		before := len(store.accepted)
		fourth := run()
		time.Sleep(500 * time.Millisecond)
		fourth()
		if made := len(store.accepted) - before; made < 10 || made > 12 {
			t.Errorf("%d occurrences were enqueued after a minute; want those of the last ten seconds", made)
		}
	})
}

// Two schedulers on one store enqueue each occurrence once.
func TestSchedulersOnOneStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	every, err := schedule.Parse("@every 1s")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ran := map[string]int{}
	tasks, err := jobs.NewRegistry(jobs.Definition{Name: "tick", Handler: func(_ context.Context, job *jobs.Job) error {
		mu.Lock()
		defer mu.Unlock()
		ran[job.ID]++
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, owner := range []string{"a", "b"} {
		store, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		w, err := machinery.New(store, tasks, machinery.Options{Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		s := schedule.New(&jobs.Client{Store: store, Tasks: tasks}, nil, []schedule.Periodic{{Schedule: every, Task: jobs.NewTask{Name: "tick"}}}, nil)
		all.Go(func() { _ = s.Run(ctx) }) // ends with ctx
		all.Go(func() { _ = w.Run(ctx) }) // ends with ctx
	}
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ran) >= 12
	}
	for deadline := time.Now().Add(60 * time.Second); !enough() && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	cancel()
	all.Wait()
	if len(ran) < 12 {
		t.Errorf("only %d occurrences", len(ran))
	}
	for id, times := range ran {
		if times != 1 {
			t.Errorf("%s ran %d times", id, times)
		}
	}
}
