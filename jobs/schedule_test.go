package jobs_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gale/jobs"
	"gale/jobs/sqlite"
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
	} {
		s, err := jobs.ParseSchedule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.Next(from).Format(time.RFC3339); got != want {
			t.Errorf("%s: next %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{
		"", " ", "TZ=UTC", "CRON_TZ=UTC", "TZ=", "TZ=Mars/Base * * * * *", "* * * *", "* * * * * * *", "61 * * * *", "0 0 30 2 *",
		"@every 0s", "@every -1s", "@every 1ms", "@every 1500ms", "@every", "@never", "\x00", strings.Repeat("1,", 500) + "1 * * * *",
	} {
		if s, err := jobs.ParseSchedule(text); !errors.Is(err, jobs.ErrSchedule) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{"TZ=UTC", "CRON_TZ=UTC 0 0 * * *", "@every 1h", "*/7 1-5,9 ? JAN-MAR MON#2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := jobs.ParseSchedule(text)
		if err != nil {
			if !errors.Is(err, jobs.ErrSchedule) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		now := time.Unix(1_800_000_000, 0)
		if next := s.Next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q: %v is not after %v", text, next, now)
		}
	})
}

// counting is a store that is only asked to accept, and may be away.
type counting struct {
	jobs.Enqueuer
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

// Schedulers come and go, the store is away for a while, and each moment is one
// task; only what nobody could start in time is missed.
func TestSchedulerMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks, err := jobs.NewRegistry(jobs.Definition{Name: "tick", Handler: func(context.Context, *jobs.Job) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		store := &counting{accepted: map[string]int{}}
		every, err := jobs.ParseSchedule("@every 1s")
		if err != nil {
			t.Fatal(err)
		}
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			s := jobs.NewScheduler(&jobs.Client{Store: store, Tasks: tasks}, nil, []jobs.Periodic{{Schedule: every, Task: jobs.NewTask{Name: "tick"}}}, nil)
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
		time.Sleep(5 * time.Second) // nobody is there, for less than MakeUp
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
			id := jobs.PeriodicID("tick", began.Add(time.Duration(i)*time.Second))
			if store.accepted[id] == 0 {
				t.Errorf("moment %d was missed", i)
			}
		}
		time.Sleep(time.Minute)
		before := len(store.accepted)
		fourth := run()
		time.Sleep(500 * time.Millisecond)
		fourth()
		if made := len(store.accepted) - before; made < 10 || made > 12 {
			t.Errorf("%d moments were made up after a minute, not those of ten seconds", made)
		}
	})
}

// Two schedulers on one store start each moment once.
func TestSchedulersOnOneStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	every, err := jobs.ParseSchedule("@every 1s")
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
		w, err := jobs.NewWorker(store, tasks, jobs.WorkerOptions{Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		s := jobs.NewScheduler(&jobs.Client{Store: store, Tasks: tasks}, nil, []jobs.Periodic{{Schedule: every, Task: jobs.NewTask{Name: "tick"}}}, nil)
		all.Go(func() { _ = s.Run(ctx) }) // ends with ctx
		all.Go(func() { _ = w.Run(ctx) }) // ends with ctx
	}
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ran) >= 12
	}
	for deadline := time.Now().Add(20 * time.Second); !enough() && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	cancel()
	all.Wait()
	if len(ran) < 12 {
		t.Errorf("only %d moments", len(ran))
	}
	for id, times := range ran {
		if times != 1 {
			t.Errorf("%s ran %d times", id, times)
		}
	}
}
