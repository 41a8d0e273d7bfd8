// Package watch brings the changes of tasks to the WebSockets that watch them.
//
// However many watch a task in this process, it is looked at once for each of
// its changes: by the one who follows it, while anybody watches. A watcher gets
// the newest state whenever it has taken the one before, so that a slow one
// skips states and never the last.
package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server/realtime"
)

// retry is how long the store is left alone after it failed.
const retry = time.Second

// Watches are the tasks that are watched in one process. Make one with New, and
// Run it once.
type Watches struct {
	client *jobs.Client
	log    *slog.Logger

	mu      sync.Mutex
	tasks   map[string]*task
	stopped bool
	follows sync.WaitGroup // one for each of tasks
}

// task is one that is watched.
type task struct {
	stop     context.CancelFunc // ends who follows it
	watchers int                // under Watches.mu

	mu      sync.Mutex
	latest  state
	changed chan struct{} // closed when latest is no longer that
}

// state is what watchers are sent.
type state struct {
	version int64
	data    []byte
	last    bool
	why     string // of the end
}

// New makes Watches of the tasks that a client reads; log may be nil.
func New(client *jobs.Client, log *slog.Logger) *Watches {
	return &Watches{client: client, log: cmp.Or(log, slog.New(slog.DiscardHandler)), tasks: map[string]*task{}}
}

// Run returns when ctx has ended and nobody follows a task any more. Those who
// watch then are sent nothing more; to close them is the Hub's.
func (w *Watches) Run(ctx context.Context) error {
	<-ctx.Done()
	w.mu.Lock()
	w.stopped = true
	for _, t := range w.tasks {
		t.stop()
	}
	w.mu.Unlock()
	w.follows.Wait()
	return nil
}

// Watched reports whether somebody here watches the task: then it is there.
func (w *Watches) Watched(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tasks[id] != nil
}

// Handler is the one for a connection that watches a task: it sends the task as
// JSON, as it is and whenever it has changed, and closes the connection with
// 1000 behind its final state. It takes no messages.
func (w *Watches) Handler(id string) realtime.Handler { return &handler{w, id} }

type handler struct {
	watches *Watches
	id      string
}

func (h *handler) Open(c *realtime.Conn) {
	c.Go(func(ctx context.Context) { h.watches.serve(ctx, c, h.id) })
}

func (*handler) Message(c *realtime.Conn, _ realtime.Message) {
	c.Close(websocket.ClosePolicyViolation, "nothing is taken here")
}

func (*handler) Closed(*realtime.Conn, int, string) {}

// serve sends to one watcher until the task or the connection has ended.
func (w *Watches) serve(ctx context.Context, c *realtime.Conn, id string) {
	t := w.join(id)
	if t == nil {
		return // the process ends, and the connection with it
	}
	defer w.leave(id, t)
	for sent := int64(0); ; {
		now, changed := t.now()
		if now.version > sent {
			if c.Send(ctx, realtime.Message{Data: now.data}) != nil {
				return
			}
			sent = now.version
		}
		if now.last {
			c.Close(websocket.CloseNormalClosure, now.why)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// join counts a watcher, and follows the task for the first one.
func (w *Watches) join(id string) *task {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return nil
	}
	t := w.tasks[id]
	if t == nil {
		ctx, stop := context.WithCancel(context.Background())
		t = &task{stop: stop, changed: make(chan struct{})}
		w.tasks[id] = t
		w.follows.Go(func() { w.follow(ctx, id, t) }) // ends with the task, its last watcher, or Run
	}
	t.watchers++
	return t
}

func (w *Watches) leave(id string, t *task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.watchers--; t.watchers == 0 {
		t.stop()
		w.forget(id, t)
	}
}

// forget makes the next watcher of the task the first. It needs mu.
func (w *Watches) forget(id string, t *task) {
	if w.tasks[id] == t {
		delete(w.tasks, id)
	}
}

// follow sees to it that t is the newest state until there is no newer one.
func (w *Watches) follow(ctx context.Context, id string, t *task) {
	defer func() { // who comes later asks anew: the task may have been tried again
		w.mu.Lock()
		defer w.mu.Unlock()
		w.forget(id, t)
	}()
	for {
		_, err := w.client.Follow(ctx, id, t.see)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.Is(err, jobs.ErrNotFound):
			t.set(state{last: true, why: "no such task"})
			return
		}
		w.log.Warn("cannot watch a task", "id", id, "error", err, "retry_in", retry)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// see takes a state; the first after trouble with the store may be known.
func (t *task) see(now *jobs.Task) {
	data, err := json.Marshal(now)
	if err != nil {
		t.set(state{last: true, why: "the task cannot be shown"})
		return
	}
	if old, _ := t.now(); old.version < now.Version {
		t.set(state{version: now.Version, data: data, last: now.State.Final(), why: "the task has ended"})
	}
}

func (t *task) now() (state, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.latest, t.changed
}

func (t *task) set(s state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest = s
	close(t.changed)
	t.changed = make(chan struct{})
}
