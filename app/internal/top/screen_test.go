package top

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// fakeStore is a task store with one queue and one task.
type fakeStore struct {
	Store
	mu     sync.Mutex
	paused bool
	task   jobs.Task
	calls  []string
	panics bool
	closed bool
}

func (s *fakeStore) Depth(context.Context) ([]driver.Depth, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panics {
		panic("a fault of the store")
	}
	return []driver.Depth{{Queue: "default", Waiting: 3, Paused: s.paused}}, nil
}

func (s *fakeStore) List(context.Context, jobs.Query) (*jobs.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.task
	return &jobs.Page{Tasks: []*jobs.Task{&t}}, nil
}

func (s *fakeStore) change(call string, set func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	set()
	return nil
}

func (s *fakeStore) Pause(_ context.Context, queue string) error {
	return s.change("pause "+queue, func() { s.paused = true })
}

func (s *fakeStore) Resume(_ context.Context, queue string) error {
	return s.change("resume "+queue, func() { s.paused = false })
}

func (s *fakeStore) Cancel(_ context.Context, id string) (*jobs.Task, error) {
	return nil, s.change("cancel "+id, func() { s.task.State = jobs.StateCancelled })
}

func (s *fakeStore) Requeue(_ context.Context, id string) (*jobs.Task, error) {
	return nil, errors.Join(s.change("retry "+id, func() {}), jobs.ErrState)
}

func (s *fakeStore) Close() error {
	return s.change("close", func() { s.closed = true })
}

// screen is a simulated terminal that records whether it was restored.
type screen struct {
	tcell.SimulationScreen
	mu       sync.Mutex // held while the cells change or are read
	restored atomic.Bool
}

func newScreen() *screen { return &screen{SimulationScreen: tcell.NewSimulationScreen("UTF-8")} }

func (s *screen) Init() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.SimulationScreen.Init()
	s.SetSize(80, 24)
	return err
}

func (s *screen) Show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.SimulationScreen.Show()
}

func (s *screen) Sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.SimulationScreen.Sync()
}

func (s *screen) Fini() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restored.Store(true)
	s.SimulationScreen.Fini()
}

// text returns what the terminal shows.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	cells, width, height := s.GetContents()
	var b strings.Builder
	for i, c := range cells[:width*height] {
		b.WriteString(string(c.Runes))
		if i%width == width-1 {
			b.WriteString("\n")
		}
	}
	return b.String()
}

// serverStatus is a response of /status.
const serverStatus = `{"version":"gale 1.2.3","pid":42,"slots":[{"slot":"serve.0","state":"live","pid":43,"connections":7,"rss":10485760}]}`

// start runs the page of a store and a server on a screen.
func start(t *testing.T, s *screen, o Options) (ended chan error, shows func(text string)) {
	t.Helper()
	o.Title, o.Interval = "server top", 5*time.Millisecond
	ended = make(chan error, 1)
	go func() { ended <- Run(t.Context(), s, o) }()
	return ended, func(text string) {
		t.Helper()
		testutil.Eventually(t, fmt.Sprintf("the screen shows %q", text), func() bool { return strings.Contains(s.text(), text) })
	}
}

func TestRun(t *testing.T) {
	store := &fakeStore{task: jobs.Task{ID: "t1", Name: "say", Queue: "default", State: jobs.StateRunning, Created: time.Now()}}
	var away atomic.Bool
	away.Store(true)
	s := newScreen()
	ended, shows := start(t, s, Options{
		Address: "127.0.0.1:9888",
		Admin: func(_ context.Context, page string) (int, []byte, error) {
			switch {
			case away.Load():
				return 0, nil, fmt.Errorf("get: %w", syscall.ECONNREFUSED)
			case page == "/status":
				return http.StatusOK, []byte(serverStatus), nil
			}
			return http.StatusServiceUnavailable, nil, nil
		},
		Open: func(context.Context) (Store, error) {
			if away.Load() {
				return nil, errors.New("no task store in data")
			}
			return store, nil
		},
	})
	shows("no server responds on 127.0.0.1:9888 (connection refused); trying again")
	shows("no task store in data")
	away.Store(false)
	shows("gale 1.2.3  pid 42")
	shows(" live ")
	shows("active")
	type key struct {
		key  tcell.Key
		r    rune
		want string // what the screen shows then
	}
	letter := func(r rune, want string) key { return key{tcell.KeyRune, r, want} }
	for _, k := range []key{
		letter('p', "select a queue first"), letter('r', "not possible in this state"),
		letter('c', "cancel task t1? y/n"), letter('x', "not cancelled"),
		letter('c', "cancel task t1? y/n"), letter('y', "task t1 is cancelled"),
		letter('c', "task t1 has ended already: cancelled"),
		letter('/', "filter: _"), letter('q', "filter: q_"), {tcell.KeyEnter, 0, `nothing matches the filter "q"`},
		{tcell.KeyEscape, 0, "cancelled   0%"}, {tcell.KeyBacktab, 0, "queue default"},
		letter('p', "paused"), letter('c', "select a task first"), letter('p', "queue default is resumed"),
	} {
		s.InjectKey(k.key, k.r, tcell.ModNone)
		shows(k.want)
	}
	s.InjectKey(tcell.KeyRune, 'q', tcell.ModNone)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := []string{"retry t1", "cancel t1", "pause default", "resume default", "close"}; !slices.Equal(store.calls, want) {
		t.Errorf("%q, want %q", store.calls, want)
	}
	if !s.restored.Load() {
		t.Error("the terminal was not restored")
	}
}

// The terminal is restored after a panic in a reader, and when the context ends.
func TestRestore(t *testing.T) {
	s := newScreen()
	store := &fakeStore{panics: true}
	ended, _ := start(t, s, Options{Open: func(context.Context) (Store, error) { return store, nil }})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "a fault of the store") || !s.restored.Load() {
		t.Errorf("%v, restored: %v", err, s.restored.Load())
	}
	s = newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, s, Options{Open: func(ctx context.Context) (Store, error) { return nil, ctx.Err() }}); err != nil || !s.restored.Load() {
		t.Errorf("%v, restored: %v", err, s.restored.Load())
	}
}
