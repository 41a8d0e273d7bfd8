package console

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/server/realtime"
)

// store is a task store with given results.
type store struct {
	mu    sync.Mutex
	tasks []*jobs.Task
	depth []driver.Depth
	err   error
	takes time.Duration
	calls int
}

func (s *store) Depth(context.Context) ([]driver.Depth, error) { return s.depth, s.err }

func (s *store) List(_ context.Context, q jobs.Query) (*jobs.Page, error) {
	time.Sleep(s.takes) // in a bubble
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return nil, s.err
	}
	n := min(len(s.tasks), q.Limit)
	return &jobs.Page{Tasks: s.tasks[:n], Next: int64(len(s.tasks) - n)}, nil
}

func (s *store) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// change replaces the first task by one in another state.
func (s *store) change(state jobs.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = []*jobs.Task{{ID: s.tasks[0].ID, State: state}}
}

// viewed is a page that records the frames it gets, by type.
type viewed struct {
	mu     sync.Mutex
	frames map[string][]string
	full   bool
}

func (v *viewed) Send(ctx context.Context, m realtime.Message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.full {
		return context.Cause(ctx) // like a connection without room
	}
	var f struct{ Type string }
	if err := json.Unmarshal(m.Data, &f); err != nil {
		return err
	}
	if v.frames == nil {
		v.frames = map[string][]string{}
	}
	v.frames[f.Type] = append(v.frames[f.Type], string(m.Data))
	return nil
}

func (v *viewed) count(kind string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.frames[kind])
}

// kinds returns the number of types of frames that the page has received.
func (v *viewed) kinds() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.frames)
}

func (v *viewed) last(t *testing.T, kind string, into any) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.frames[kind]
	if len(all) == 0 {
		t.Fatalf("no frame %s", kind)
	}
	if err := json.Unmarshal([]byte(all[len(all)-1]), into); err != nil {
		t.Fatal(err)
	}
}

// running runs a Console during story, within a bubble.
func running(t *testing.T, s *store, o Options, story func(c *Console)) {
	synctest.Test(t, func(t *testing.T) {
		c := New(s, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }() // ends with cancel
		story(c)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets time pass and waits until all goroutines are blocked.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

func TestNoReadsWithoutAPage(t *testing.T) {
	s := &store{}
	running(t, s, Options{}, func(*Console) { pass(time.Hour) })
	if s.reads() != 0 {
		t.Errorf("the store was read %d times", s.reads())
	}
}

func TestOneReadPerSecondForAllPages(t *testing.T) {
	s := &store{tasks: []*jobs.Task{{ID: "a"}}}
	requested := map[string]int{}
	o := Options{GetAdmin: func(_ context.Context, page string) (int, []byte, error) {
		requested[page]++
		return 200, []byte(`{"slots":[]}`), nil
	}}
	running(t, s, o, func(c *Console) {
		pages := make([]*viewed, 50)
		for i := range pages {
			pages[i] = &viewed{}
			c.addPage(pages[i])
		}
		pass(10*time.Second + time.Millisecond)
		if s.reads() != 11 || requested["/status"] != 11 || requested[plottedPage] != 11 {
			t.Errorf("the store was read %d times, the admin endpoint %v", s.reads(), requested)
		}
		for _, v := range pages {
			// The frame of processes contains the time, so it always changes; the task does not.
			if v.count("processes") != 11 || v.count("tasks") != 1 || v.count("queues") != 1 {
				t.Fatalf("frames: %d %d %d", v.count("processes"), v.count("tasks"), v.count("queues"))
			}
		}
		late := &viewed{}
		c.addPage(late)
		if late.kinds() != 3 {
			t.Errorf("a page that opens later gets %d frames", late.kinds())
		}
		s.change(jobs.StateRunning)
		pass(time.Second)
		if late.count("tasks") != 2 || pages[7].count("tasks") != 2 {
			t.Errorf("a change was sent %d times", late.count("tasks")-1)
		}
		for _, v := range append(pages, late) {
			c.removePage(v)
		}
		before := s.reads()
		pass(time.Minute)
		if s.reads() > before+1 {
			t.Errorf("the store was read %d times without a page", s.reads()-before)
		}
		next := &viewed{}
		c.addPage(next)
		if next.kinds() != 0 {
			t.Errorf("a new page gets data that is a minute old: %d frames", next.kinds())
		}
		synctest.Wait()
		if next.kinds() != 3 {
			t.Errorf("a new page gets %d frames", next.kinds())
		}
	})
}

func TestSlowPageDoesNotDelayOthers(t *testing.T) {
	running(t, &store{}, Options{}, func(c *Console) {
		good, full := &viewed{}, &viewed{full: true}
		c.addPage(full)
		c.addPage(good)
		pass(5 * time.Second)
		if n := good.count("processes"); n < 5 {
			t.Errorf("got %d frames", n)
		}
	})
}

// A frame for which a page had no room is sent later, even without another change.
func TestSlowPageCatchesUp(t *testing.T) {
	s := &store{}
	running(t, s, Options{}, func(c *Console) {
		slow := &viewed{}
		c.addPage(slow)
		synctest.Wait()
		c.mu.Lock()
		slow.full, s.tasks = true, []*jobs.Task{{ID: "late"}}
		c.mu.Unlock()
		time.Sleep(2 * time.Second)
		c.mu.Lock()
		slow.full = false
		c.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var f tasksFrame
		slow.last(t, "tasks", &f)
		if len(f.Tasks) != 1 || f.Tasks[0].ID != "late" || len(slow.frames["tasks"]) != 2 {
			t.Errorf("shows %v after %d frames with tasks", f.Tasks, len(slow.frames["tasks"]))
		}
	})
}

// If reading the state takes long, the interval grows, up to its maximum.
func TestSlowReadsAreLessFrequent(t *testing.T) {
	for _, row := range []struct {
		takes time.Duration
		most  int
	}{{500 * time.Millisecond, 21}, {4 * time.Second, 9}} {
		s := &store{takes: row.takes}
		running(t, s, Options{}, func(c *Console) {
			c.addPage(&viewed{})
			pass(100 * time.Second)
		})
		if s.reads() > row.most || s.reads() < row.most/2 {
			t.Errorf("the store was read %d times in 100 s, at %v per read", s.reads(), row.takes)
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	s := &store{depth: []driver.Depth{{Queue: "q", Waiting: 2, Oldest: 1500 * time.Millisecond, Dead: 1, Paused: true}}}
	for range 70 {
		s.tasks = append(s.tasks, &jobs.Task{ID: "a", Args: []byte(`["` + long + `"]`), Error: long, Note: long})
	}
	running(t, s, Options{}, func(c *Console) {
		v := &viewed{}
		c.addPage(v)
		synctest.Wait()
		var tasks tasksFrame
		v.last(t, "tasks", &tasks)
		if len(tasks.Tasks) != shownTasks || !tasks.More || len(tasks.Tasks[0].Error) > shownText+10 || len(v.frames["tasks"][0]) > shownTasks*3*shownText {
			t.Errorf("%d tasks, %d bytes", len(tasks.Tasks), len(v.frames["tasks"][0]))
		}
		type queue struct {
			Queue                             string
			Waiting, Scheduled, Running, Dead int
			Oldest                            float64 `json:"oldest_seconds"`
			Paused                            bool
		}
		var queues struct{ Queues []queue }
		v.last(t, "queues", &queues)
		if len(queues.Queues) != 1 || queues.Queues[0] != (queue{"q", 2, 0, 0, 1, 1.5, true}) {
			t.Errorf("%+v", queues)
		}
	})
}

func response(code int, body string, err error) func() (int, []byte, error) {
	return func() (int, []byte, error) { return code, []byte(body), err }
}

func TestProblemsHideTheirCauses(t *testing.T) {
	secret := errors.New("dial 10.0.0.1: secret")
	responses := map[string]func() (int, []byte, error){}
	o := Options{GetAdmin: func(_ context.Context, page string) (int, []byte, error) { return responses[page]() }}
	for _, row := range []struct {
		name            string
		status, metrics func() (int, []byte, error)
		o               Options
		want            string
	}{
		{"no endpoint", nil, nil, Options{}, "set -admin"},
		{"no response", response(0, "", secret), nil, o, "does not respond"},
		{"another status", response(503, "{}", nil), nil, o, "does not respond"},
		{"no figures", response(200, "{}", nil), response(0, "", secret), o, "metrics cannot be read"},
		{"no metrics", response(200, "{}", nil), response(404, "not found", nil), o, "metrics cannot be read"},
		{"bad figures", response(200, "{}", nil), response(200, "a{b\n", nil), o, "metrics cannot be read"},
		{"no JSON", response(200, "<html>", nil), response(200, "", nil), o, "is not valid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			responses["/status"], responses[plottedPage] = row.status, row.metrics
			running(t, &store{err: secret}, row.o, func(c *Console) {
				v := &viewed{}
				c.addPage(v)
				synctest.Wait()
				var f processesFrame
				v.last(t, "processes", &f)
				var tasks tasksFrame
				v.last(t, "tasks", &tasks)
				if !strings.Contains(f.Problem, row.want) || tasks.Problem != problemStore || strings.Contains(f.Problem+tasks.Problem, "secret") {
					t.Errorf("%q, %q", f.Problem, tasks.Problem)
				}
			})
		})
	}
}
