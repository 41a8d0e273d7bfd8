// Package watch sends the changes of tasks to the WebSockets that watch them.
//
// While a task is watched in this process, one goroutine follows it and reads each change
// once, for any number of watchers. A watcher gets the newest state after it has received the
// one before. A slow watcher therefore skips states, but never the last one.
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

// retry is the delay after an error of the task store.
const retry = time.Second

// Watches holds the watched tasks of one process. Create it with New and call Run once.
type Watches struct {
	client *jobs.Client
	log    *slog.Logger

	mu      sync.Mutex
	tasks   map[string]*task
	stopped bool
	follows sync.WaitGroup // goroutines that follow tasks
}

// task is a watched task.
type task struct {
	stop     context.CancelFunc // ends the goroutine that follows the task
	watchers int                // number of watchers, guarded by Watches.mu

	mu      sync.Mutex
	latest  state
	changed chan struct{} // closed when latest changes
}

// state is a state of a task as sent to watchers.
type state struct {
	version int64
	data    []byte // the task as JSON
	last    bool   // no other state follows
	why     string // if last: reason for the close frame
}

// New returns Watches of the tasks that client reads; log may be nil.
func New(client *jobs.Client, log *slog.Logger) *Watches {
	return &Watches{client: client, log: cmp.Or(log, slog.New(slog.DiscardHandler)), tasks: map[string]*task{}}
}

// Run stops following tasks when ctx is done, and returns nil when all goroutines have ended.
// Watchers then get no more changes; the Hub closes their connections.
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

// Watched reports whether a task is watched in this process, and therefore exists.
func (w *Watches) Watched(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tasks[id] != nil
}

// Handler returns the handler for the connection of a watcher. It sends the task as JSON, at
// first in its present state and then after each change. After the final state it closes the
// connection with close code 1000. It accepts no messages.
func (w *Watches) Handler(id string) realtime.Handler { return &handler{w, id} }

type handler struct {
	watches *Watches
	id      string
}

func (h *handler) Open(c *realtime.Conn) {
	c.Go(func(ctx context.Context) { h.watches.serve(ctx, c, h.id) })
}

func (*handler) Message(c *realtime.Conn, _ realtime.Message) {
	c.Close(websocket.ClosePolicyViolation, "this WebSocket accepts no messages")
}

func (*handler) Closed(*realtime.Conn, int, string) {}

// serve sends states to one watcher until the task or the connection has ended.
func (w *Watches) serve(ctx context.Context, c *realtime.Conn, id string) {
	t := w.join(id)
	if t == nil {
		return // the process drains, and the Hub closes the connection
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

// join adds a watcher. For the first watcher of a task it starts to follow the task. It
// returns nil after Run has ended.
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

// forget removes the task, so that the next watcher follows it again. The caller holds mu.
func (w *Watches) forget(id string, t *task) {
	if w.tasks[id] == t {
		delete(w.tasks, id)
	}
}

// follow updates t until the task has ended or ctx is done.
func (w *Watches) follow(ctx context.Context, id string, t *task) {
	defer func() { // a later watcher follows the task again, because it may be retried
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
		w.log.Warn("cannot read a watched task from the task store", "id", id, "error", err, "retry_in", retry)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// see stores a new state. After an error of the store, the first one may be known already.
func (t *task) see(now *jobs.Task) {
	data, err := json.Marshal(now)
	if err != nil {
		t.set(state{last: true, why: "the task cannot be encoded"})
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
