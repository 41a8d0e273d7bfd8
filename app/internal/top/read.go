package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/prefork"
)

const (
	// readTimeout limits one read of the task store.
	readTimeout = 10 * time.Second
	// shownTasks is the number of tasks that are read and that a filter searches.
	shownTasks = 200
	// serveRole is the role of the slots that have requests.
	serveRole = "serve"
)

// update is what a reader has found.
type update func(*model)

// send passes an update to the loop. It returns false when ctx is done.
func send(ctx context.Context, updates chan<- update, u update) bool {
	select {
	case updates <- u:
		return true
	case <-ctx.Done():
		return false
	}
}

// status is the body of /status.
type status struct {
	Version      string               `json:"version"`
	PID          int                  `json:"pid"`
	ReloadFailed string               `json:"reload_failed"`
	Reloading    bool                 `json:"reloading"`
	Stopping     bool                 `json:"stopping"`
	Slots        []prefork.SlotStatus `json:"slots"`
}

// figures are the rates of a slot; a negative one is not known.
type figures struct{ requests, cpu float64 }

// adminReader reads the admin endpoint.
type adminReader struct {
	opts Options
	last sample
}

func newAdminReader(o Options) *adminReader { return &adminReader{opts: o} }

func (a *adminReader) run(ctx context.Context, updates chan<- update) error {
	for a.opts.Address != "" {
		began := time.Now()
		s, rates, err := a.read(ctx)
		if !send(ctx, updates, func(m *model) { m.status, m.rates, m.problems[panelSlots] = s, rates, problem(err) }) {
			return nil
		}
		if !sleep(ctx, a.opts.Interval, time.Since(began)) {
			return nil
		}
	}
	send(ctx, updates, func(m *model) { m.problems[panelSlots] = "the admin endpoint is off; set -admin to see the slots" })
	return nil
}

// read returns the status and the rates since the last read.
func (a *adminReader) read(ctx context.Context) (s status, rates map[string]figures, err error) {
	body, err := a.get(ctx, "/status")
	if err != nil {
		return status{}, nil, err
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return status{}, nil, fmt.Errorf("%s is not the admin endpoint of a server; check -admin", a.opts.Address)
	}
	var now sample
	if body, err = a.get(ctx, "/metrics"); err == nil {
		now, _ = parseSample(body, time.Now()) // without metrics, the rates are not known
	}
	rates = map[string]figures{}
	for _, slot := range s.Slots {
		d := now.at.Sub(a.last.at)
		if _, counted := now.requests[slot.Slot]; slot.Role == serveRole && now.requests != nil && !counted {
			now.requests[slot.Slot] = 0 // the counter appears with the first request
		}
		rates[slot.Slot] = figures{rate(a.last.requests, now.requests, slot.Slot, d), rate(a.last.cpu, now.cpu, slot.Slot, d)}
	}
	a.last = now
	return s, rates, nil
}

func (a *adminReader) get(ctx context.Context, page string) ([]byte, error) {
	code, body, err := a.opts.Admin(ctx, page)
	if err != nil {
		return nil, fmt.Errorf("no server responds on %s (%w); trying again", a.opts.Address, innermost(err))
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("%s: %s returned status %d; check -admin", a.opts.Address, page, code)
	}
	return body, nil
}

// innermost returns the cause of an error, which fits into a line.
func innermost(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}

// problem returns the text of an error, or "".
func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sleep waits until the next read. The wait is longer if reading takes long, so that the
// server is not busy with it. It returns false when ctx is done.
func sleep(ctx context.Context, interval, took time.Duration) bool {
	select {
	case <-time.After(max(interval-took, 4*took)):
		return true
	case <-ctx.Done():
		return false
	}
}

// storeReader reads the task store and changes it. Only its goroutine uses the store.
type storeReader struct {
	opts  Options
	store Store // nil until it could be opened
}

func (s *storeReader) run(ctx context.Context, updates chan<- update, actions <-chan action) (err error) {
	defer func() {
		if s.store != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	for {
		began := time.Now()
		if !send(ctx, updates, s.read(ctx)) {
			return nil
		}
		took := time.Since(began)
		select {
		case a := <-actions:
			if !send(ctx, updates, s.do(ctx, a)) {
				return nil
			}
		case <-time.After(max(s.opts.Interval-took, 4*took)):
		case <-ctx.Done():
			return nil
		}
	}
}

// open opens the store unless it is open.
func (s *storeReader) open(ctx context.Context) (err error) {
	if s.store == nil {
		s.store, err = s.opts.Open(ctx)
	}
	return err
}

func (s *storeReader) read(ctx context.Context) update {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var queues []driver.Depth
	tasks := &jobs.Page{}
	err := s.open(ctx)
	if err == nil {
		queues, err = s.store.Depth(ctx)
	}
	if err == nil {
		tasks, err = s.store.List(ctx, jobs.Query{Limit: shownTasks})
	}
	if err != nil {
		queues, tasks = nil, &jobs.Page{}
	}
	for _, t := range tasks.Tasks { // they may be large, and are not shown
		t.Args, t.Kwargs, t.Result, t.Headers, t.Signature, t.Failures = nil, nil, nil, nil, nil, nil
	}
	return func(m *model) {
		m.queues, m.tasks = queues, tasks.Tasks
		m.problems[panelQueues], m.problems[panelTasks] = problem(err), problem(err)
	}
}

// do changes a queue or a task.
func (s *storeReader) do(ctx context.Context, a action) update {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := s.open(ctx)
	if err == nil {
		switch a.verb {
		case verbPause:
			err = s.store.Pause(ctx, a.target)
		case verbResume:
			err = s.store.Resume(ctx, a.target)
		case verbRetry:
			_, err = s.store.Requeue(ctx, a.target)
		case verbCancel:
			_, err = s.store.Cancel(ctx, a.target)
		}
	}
	message := a.done()
	if err != nil {
		message = err.Error()
	}
	return func(m *model) { m.message = message }
}
