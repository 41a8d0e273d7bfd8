package watch

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
)

// reader is a store with one task that counts calls.
type reader struct {
	jobs.Store
	mu      sync.Mutex
	task    jobs.Task
	changed chan struct{}
	asked   int
	away    error
}

func (r *reader) change(version int64, s jobs.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.task.Version, r.task.State = version, s
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *reader) Watch(ctx context.Context, id string, after int64) (*jobs.Task, error) {
	r.mu.Lock()
	r.asked++
	r.mu.Unlock()
	for {
		r.mu.Lock()
		t, changed, away := r.task, r.changed, r.away
		r.mu.Unlock()
		switch {
		case away != nil:
			return nil, away
		case id != t.ID:
			return nil, jobs.ErrNotFound
		case t.Version > after:
			return &t, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (r *reader) questions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func newReader() *reader {
	return &reader{task: jobs.Task{ID: "a", State: jobs.StateQueued, Version: 1}, changed: make(chan struct{})}
}

func running(t *testing.T, r *reader) *Watches {
	t.Helper()
	w := New(&jobs.Client{Store: r}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		_ = w.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// With a thousand watchers, each change is read once. A watcher gets the present state first.
// After the last watcher has left, the task is no longer followed.
func TestOneLookForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader()
		w := running(t, r)
		var all []*task
		for range 1000 {
			all = append(all, w.join("a"))
		}
		synctest.Wait()
		for version, s := range []jobs.State{3: jobs.StateRunning, 4: jobs.StateRunning, 5: jobs.StateSuccess} {
			if s != "" {
				r.change(int64(version), s)
				synctest.Wait()
			}
		}
		for _, task := range all {
			if now, _ := task.now(); now.version != 5 || !now.last {
				t.Fatalf("a watcher is at %+v", now)
			}
		}
		if n := r.questions(); n != 4 {
			t.Errorf("the store was read %d times for four states", n)
		}
		// The task was retried, and is followed again.
		r.change(6, jobs.StateQueued)
		again := w.join("a")
		synctest.Wait()
		if now, _ := again.now(); now.version != 6 || now.last {
			t.Errorf("then it is %+v", now)
		}
		for _, task := range all {
			w.leave("a", task)
		}
		if !w.Watched("a") {
			t.Error("the task is not watched, though a watcher is left")
		}
		w.leave("a", again)
		synctest.Wait()
		if w.Watched("a") {
			t.Error("the task is still watched after all watchers have left")
		}
	})
}

// Watching continues after an error of the store. It ends if the task no longer exists, and
// when the process ends.
func TestTroubleWhileWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReader()
		r.away = errors.New("away")
		w := running(t, r)
		a := w.join("a")
		time.Sleep(10 * time.Second)
		if now, _ := a.now(); now.version != 0 || r.questions() > 12 {
			t.Errorf("%+v after %d questions", now, r.questions())
		}
		r.mu.Lock()
		r.away = nil
		r.mu.Unlock()
		time.Sleep(2 * time.Second)
		if now, _ := a.now(); now.version != 1 {
			t.Errorf("then it is %+v", now)
		}
		gone := w.join("gone")
		synctest.Wait()
		if now, _ := gone.now(); !now.last || now.version != 0 {
			t.Errorf("one that is gone is %+v", now)
		}
		w.leave("gone", gone)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = w.Run(ctx) // a second time, to see it end
		if w.join("a") != nil {
			t.Error("a watcher is taken at the end")
		}
		w.leave("a", a)
	})
}
