//go:build e2e

package torture_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
)

// workload runs the clients, subscribers and worker programs, and reads the final state.
type workload struct {
	t      *testing.T
	system *system
	h      *history
	seed   uint64

	admin   *client // for the operations after the faults
	reading sync.WaitGroup
	cancel  context.CancelFunc // ends the subscribers and worker programs
}

// run runs the clients until ctx ends. The subscribers and worker programs go on until stop.
func (w *workload) run(ctx context.Context) {
	reading, cancel := context.WithCancel(w.t.Context())
	w.cancel = cancel
	urls := w.system.urls()
	announced := make(chan struct{}, programs)
	for i := range programs {
		p := newProgram(w, 2000+i)
		w.reading.Go(func() { p.run(reading, func() { announced <- struct{}{} }) }) // ends with stop
	}
	for range programs {
		<-announced // else their tasks are unknown
	}
	for i := range subscribers {
		s := &subscriber{number: 1000 + i, url: urls[i/2%len(urls)], channel: fmt.Sprint("torture", i%channels), h: w.h, sockets: i >= channels}
		w.reading.Go(func() { s.run(reading) }) // ends with stop
	}
	var running sync.WaitGroup
	for i := range clients {
		c := newClient(urls, w.h, w.seed, i)
		running.Go(func() { c.run(ctx) }) // ends with ctx
	}
	running.Wait()
	w.admin = newClient(urls, w.h, w.seed, clients)
}

// stop ends the subscribers and worker programs.
func (w *workload) stop() {
	w.cancel()
	w.reading.Wait()
}

// settle resumes the queues, publishes a last message to each channel and waits until all
// subscribers have it, and purges the queue that no worker serves.
func (w *workload) settle() {
	for _, q := range queues {
		testutil.Eventually(w.t, q+" is resumed", func() bool { return w.admin.change(kindResume, q) })
	}
	for i := range channels {
		channel, n := fmt.Sprint("torture", i), 0
		testutil.Eventually(w.t, "the last message is published", func() bool {
			n++
			return w.admin.post(channel, fmt.Sprint("last-", i, "-", n))
		})
		text := fmt.Sprint("last-", i, "-", n)
		testutil.Eventually(w.t, "subscribers have "+text, func() bool {
			return w.h.events(channel, text) == subscribers/channels
		})
	}
	testutil.Eventually(w.t, "the queue without workers is purged", w.admin.purgeIdle)
}

// get reads an object until it is there and done, or does not exist. A status other than 200
// and 404 is tried again.
func (w *workload) get(path string, v any, done func() bool) (exists bool) {
	for end := time.Now().Add(testutil.Patience); ; <-time.After(50 * time.Millisecond) {
		r := w.admin.send(w.t.Context(), http.MethodGet, path, "", nil)
		switch {
		case r.status == http.StatusNotFound:
			return false
		case r.status == http.StatusOK && json.Unmarshal(r.body, v) == nil && (done() || time.Now().After(end)):
			return true
		case time.Now().After(end):
			w.t.Fatalf("GET %s: %d %s", path, r.status, r.body)
		}
	}
}

// collect waits until all tasks and workflows have ended, and returns the final state.
func (w *workload) collect() state {
	end := state{Tasks: map[string]*task{}, Listed: map[string]bool{}, Flows: map[string]*flow{}, Files: map[string]string{}, Runs: map[string][]run{}}
	ops := w.h.all()
	w.collectFlows(ops, end)
	for _, t := range w.list() { // most of them have ended; one request has 500 of them
		if final(t.State) {
			end.Tasks[t.ID] = t
		}
	}
	w.collectTasks(ops, end)
	clear(end.Flows) // a workflow fails with its first task that fails, before the others have ended
	w.collectFlows(ops, end)
	for _, t := range w.list() {
		end.Listed[t.ID] = true
	}
	for _, o := range kinds(ops, kindStore, kindTusCreate) {
		if _, known := end.Files[o.ID]; !known {
			if r := w.file(o.ID); r.status == http.StatusOK {
				end.Files[o.ID] = digest(r.body)
			}
		}
	}
	end.At = time.Now().UnixNano()
	return end
}

// file downloads a file.
func (w *workload) file(path string) (r response) {
	testutil.Eventually(w.t, path+" is read", func() bool {
		r = w.admin.send(w.t.Context(), http.MethodGet, "/upload/"+path, "", nil)
		return r.status == http.StatusOK || r.status == http.StatusNotFound
	})
	return r
}

// collectFlows reads each workflow when it has ended.
func (w *workload) collectFlows(ops []op, end state) {
	for _, o := range kinds(ops, kindChain, kindChord) {
		var f flow
		if end.Flows[o.ID] == nil && w.get("/workflows/"+o.ID+"?wait=10s", &f, func() bool { return final(f.State) }) {
			end.Flows[o.ID] = &f
		}
	}
}

// collectTasks reads each task that is not in end.Tasks, when it has ended, and what the
// attempts of all tasks have recorded.
func (w *workload) collectTasks(ops []op, end state) {
	var ids []string
	for _, o := range kinds(ops, kindEnqueue, kindUnique, kindExpiring, kindChain, kindChord) {
		switch o.Kind {
		case kindEnqueue:
			ids = append(ids, o.ID)
		case kindUnique, kindExpiring:
			ids = append(ids, o.Content)
		}
		for _, m := range o.Members {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		var t task
		if end.Tasks[id] == nil && w.get("/tasks/"+id+"?wait=10s", &t, func() bool { return final(t.State) }) {
			end.Tasks[id] = &t
		}
		runs, err := readRuns(filepath.Join(w.system.runs, id))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Error(err)
		}
		if runs != nil {
			end.Runs[id] = runs
		}
	}
}

// list reads all pages of the list of tasks.
func (w *workload) list() (all []*task) {
	for path := "/tasks?limit=500"; path != ""; {
		var page struct {
			Tasks []*task
			Next  string
		}
		if !w.get(path, &page, func() bool { return true }) {
			w.t.Fatalf("GET %s: 404", path)
		}
		all = append(all, page.Tasks...)
		path = page.Next
	}
	return all
}
