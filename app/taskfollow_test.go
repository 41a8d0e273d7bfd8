package app

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// listed is a task store of a few tasks, the newest first, with pages of one task.
type listed struct {
	driver.Store
	mu    sync.Mutex
	tasks []*jobs.Task
	err   error
}

// fail makes calls return an error; nil ends that.
func (l *listed) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *listed) Get(_ context.Context, id string) (*jobs.Task, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tasks {
		if t.ID == id {
			return t, l.err
		}
	}
	return nil, jobs.ErrNotFound
}

func (l *listed) List(_ context.Context, q jobs.Query) (*jobs.Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &jobs.Page{}
	for i, t := range l.tasks {
		if int64(i) >= q.Before && q.Matches(t) {
			p.Tasks = []*jobs.Task{t}
			p.Next = int64((i + 1) % len(l.tasks))
			break
		}
	}
	return p, l.err
}

// set replaces a task, or adds a new one.
func (l *listed) set(t jobs.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, old := range l.tasks {
		if old.ID == t.ID {
			l.tasks[i] = &t
			return
		}
	}
	l.tasks = slices.Insert(l.tasks, 0, &t)
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// at returns a time some seconds after noon.
func at(seconds int) *time.Time {
	t := noon.Add(time.Duration(seconds) * time.Second)
	return &t
}

// lines returns changes in the form "12:00:05 success a 1".
func lines(t *testing.T, f *follower) (all []string) {
	t.Helper()
	changes, err := f.next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		all = append(all, fmt.Sprintf("%s %s %s %d", changedAt(c).Format(time.TimeOnly), c.State, c.ID, c.Attempts))
	}
	return all
}

func TestFollower(t *testing.T) {
	s := &listed{}
	for i := range 3 { // the second page has a task that runs
		s.set(jobs.Task{ID: fmt.Sprint("old", i), State: jobs.StateRunning, Attempts: 1, Created: noon, Started: at(0)})
	}
	s.set(jobs.Task{ID: "dead", State: jobs.StateDead, Attempts: 5, Created: noon, Started: at(0), Finished: at(1)})
	f := &follower{store: s}
	expect := func(story string, want ...string) {
		t.Helper()
		if got := lines(t, f); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", story, got, want)
		}
	}
	expect("the first read reports nothing")
	s.set(jobs.Task{ID: "new", State: jobs.StateQueued, Created: *at(10)})
	expect("accepted", "12:00:10 queued new 0")
	expect("nothing has changed")
	s.set(jobs.Task{ID: "new", State: jobs.StateRunning, Attempts: 1, Created: *at(10), Started: at(11)})
	expect("started", "12:00:11 running new 1")
	s.set(jobs.Task{ID: "new", State: jobs.StateRunning, Attempts: 1, Created: *at(10), Started: at(11), Progress: 50, Version: 9})
	expect("progress is not a change of state")
	s.set(jobs.Task{ID: "new", State: jobs.StateRetrying, Attempts: 1, Created: *at(10), Started: at(11), Failures: []jobs.Failure{{Time: *at(12)}}})
	expect("failed, with a retry", "12:00:12 retrying new 1")
	s.set(jobs.Task{ID: "new", State: jobs.StateSuccess, Attempts: 2, Created: *at(10), Started: at(13), Finished: at(14)})
	s.set(jobs.Task{ID: "old0", State: jobs.StateCancelled, Attempts: 1, Created: noon, Started: at(0), Finished: at(12)})
	expect("several, in the order of their times", "12:00:12 cancelled old0 1", "12:00:13 running new 2", "12:00:14 success new 2")
	s.set(jobs.Task{ID: "quick", State: jobs.StateFailed, Attempts: 1, Created: *at(20), Started: at(21), Finished: at(22), Error: "no"})
	expect("all within one pause", "12:00:20 queued quick 0", "12:00:21 running quick 1", "12:00:22 failed quick 1")
	s.set(jobs.Task{ID: "dead", State: jobs.StateQueued, Attempts: 5, Created: noon, Started: at(0), RunAt: *at(30)})
	for got := []string(nil); ; {
		if got = append(got, lines(t, f)...); len(got) > 0 {
			if got[0] != "12:00:30 queued dead 5" {
				t.Errorf("an old task that is retried: %q", got)
			}
			break
		}
		if f.reads > 2*followSweep {
			t.Fatal("an old task that is retried was not found")
		}
	}
	s.tasks = s.tasks[:1]
	expect("tasks that the store has removed")
}

// After an error, changes are not lost.
func TestFollowerAfterAnError(t *testing.T) {
	s := &listed{}
	f := &follower{store: s}
	lines(t, f)
	s.set(jobs.Task{ID: "a", State: jobs.StateQueued, Created: noon})
	s.fail(jobs.ErrUnavailable)
	if _, err := f.next(t.Context()); err == nil {
		t.Fatal("no error")
	}
	s.fail(nil)
	if got := lines(t, f); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// follow filters by state, continues after the store was away, and ends with its context.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &listed{}
		s.set(jobs.Task{ID: "first", Name: "say", State: jobs.StateFailed, Created: noon, Finished: at(1), Error: "a\nb"})
		s.set(jobs.Task{ID: "other", Name: "say", State: jobs.StateSuccess, Created: noon, Finished: at(2)})
		var out, errs testutil.LogBuffer
		r := &tasksRun{store: s, out: &out, errOut: &errs}
		r.opt = config.TasksOptions{Query: config.Filter{Limit: 10}, Follow: true}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.followUntil(ctx, jobs.Query{State: jobs.StateFailed}) }() // a bubble must not wait for signals
		synctest.Wait()
		s.set(jobs.Task{ID: "second", Name: "say", State: jobs.StateFailed, Created: *at(5), Finished: at(6)})
		time.Sleep(2 * followPause)
		s.fail(fmt.Errorf("%w: gone", jobs.ErrUnavailable))
		time.Sleep(3 * followPause)
		s.fail(nil)
		s.set(jobs.Task{ID: "third", Name: "say", State: jobs.StateFailed, Created: *at(7), Finished: at(8)})
		time.Sleep(2 * followPause)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var ids []string
		for line := range strings.Lines(out.String()) {
			ids = append(ids, strings.Fields(line)[2])
		}
		if want := []string{"ID", "first", "second", "third"}; !slices.Equal(ids, want) {
			t.Errorf("%q, want %q", out.String(), want)
		}
		if !strings.Contains(out.String(), "2026-01-02T12:00:01Z  failed     first                              say") || !strings.Contains(out.String(), "a b\n") {
			t.Errorf("%q", out.String())
		}
		if want := "server: task store is unavailable: gone; trying again\nserver: the task store is available again\n"; errs.String() != want {
			t.Errorf("%q", errs.String())
		}
	})
}

// outputClosed notices that the reader of a pipe has gone, and nothing else.
func TestOutputClosed(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if outputClosed(writer) || outputClosed(file) || outputClosed(new(strings.Builder)) {
		t.Error("open, but reported as closed")
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if !outputClosed(writer) {
		t.Error("closed, but not reported")
	}
}
