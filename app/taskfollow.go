package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/jobs"
)

const (
	// followPause is the time between two reads of "tasks list -follow". It is longer if
	// reading takes long, so that a large store is not read all the time.
	followPause = 500 * time.Millisecond
	// followSweep is the number of reads after which all tasks that have not ended are read
	// again, so that an old task that an operator retries is found.
	followSweep = 10
	// maxFollowed is the largest number of tasks that are followed and have not ended.
	maxFollowed = 10_000
)

// taskReader reads tasks for a follower.
type taskReader interface {
	Get(ctx context.Context, id string) (*jobs.Task, error)
	List(ctx context.Context, q jobs.Query) (*jobs.Page, error)
}

// follower finds the changes of the tasks that a query selects. A store has no list of
// changes, so a follower compares what it reads with what it has read before.
type follower struct {
	store taskReader
	query jobs.Query          // State is not set: it filters changes, not tasks
	known map[string]standing // by id; nil before the first read
	reads int
}

// standing is what a follower remembers of a task.
type standing struct {
	state    jobs.State
	attempts int
}

func standingOf(t *jobs.Task) standing { return standing{t.State, t.Attempts} }

// next reads the store and returns the changes since the last call, the oldest first. The
// first call returns none. After an error, the next call returns the changes.
func (f *follower) next(ctx context.Context) ([]*jobs.Task, error) {
	found := map[string]standing{}
	var changes []*jobs.Task
	visit := func(t *jobs.Task) {
		if _, ok := found[t.ID]; ok {
			return
		}
		found[t.ID] = standingOf(t)
		if before, ok := f.known[t.ID]; f.known != nil {
			changes = append(changes, changesOf(before, !ok, t)...)
		}
	}
	err := f.readPages(ctx, f.query, visit, f.hasNew)
	for _, state := range []jobs.State{jobs.StateScheduled, jobs.StateQueued, jobs.StateRunning, jobs.StateRetrying} {
		q := f.query
		q.State = state
		if err == nil && f.reads%followSweep == 0 {
			err = f.readPages(ctx, q, visit, func(*jobs.Page) bool { return len(found) < maxFollowed })
		}
	}
	if err = cmp.Or(err, f.readKnown(ctx, found, visit)); err != nil {
		return nil, err
	}
	f.known, f.reads = found, f.reads+1
	slices.SortStableFunc(changes, func(a, b *jobs.Task) int { return changedAt(a).Compare(changedAt(b)) })
	return changes, nil
}

// hasNew reports whether a page has a task that is not known, so that the page after it may
// have one too.
func (f *follower) hasNew(p *jobs.Page) bool {
	return f.known != nil && slices.ContainsFunc(p.Tasks, func(t *jobs.Task) bool {
		_, ok := f.known[t.ID]
		return !ok
	})
}

// readKnown reads the tasks that had not ended and are not found yet.
func (f *follower) readKnown(ctx context.Context, found map[string]standing, visit func(*jobs.Task)) error {
	for id, before := range f.known {
		if _, ok := found[id]; ok || before.state.Final() {
			continue
		}
		t, err := f.store.Get(ctx, id)
		if errors.Is(err, jobs.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		visit(t)
	}
	return nil
}

// readPages visits the tasks of the first page, and of further ones while more returns true.
func (f *follower) readPages(ctx context.Context, q jobs.Query, visit func(*jobs.Task), more func(*jobs.Page) bool) error {
	for q.Limit = jobs.MaxPage; ; {
		p, err := f.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, t := range p.Tasks {
			visit(t)
		}
		if q.Before = p.Next; p.Next == 0 || !more(p) {
			return nil
		}
	}
}

// changesOf returns what a task was after each of its changes, as far as its times tell: a
// task that starts and ends between two reads was running in between.
func changesOf(before standing, isNew bool, now *jobs.Task) (all []*jobs.Task) {
	waiting := now.State == jobs.StateQueued || now.State == jobs.StateScheduled
	if isNew && !waiting {
		t := *now
		t.State, t.Attempts, t.Worker, t.Started, t.Failures, t.RunAt = jobs.StateQueued, 0, "", nil, nil, now.Created
		all = append(all, unended(t))
	}
	if !waiting && now.State != jobs.StateRunning && now.Started != nil && now.Attempts > before.attempts {
		t := *now
		t.State = jobs.StateRunning
		all = append(all, unended(t))
	}
	if isNew || before != standingOf(now) {
		all = append(all, now)
	}
	return all
}

// unended returns a task as it was before it ended.
func unended(t jobs.Task) *jobs.Task {
	t.Progress, t.Note, t.Finished, t.Result, t.Error, t.Artifacts = 0, "", nil, nil, "", nil
	return &t
}

// changedAt returns the time of the last change of a task's state, as far as the task tells.
func changedAt(t *jobs.Task) time.Time {
	switch {
	case t.Finished != nil:
		return *t.Finished
	case t.State == jobs.StateRetrying && len(t.Failures) > 0:
		return t.Failures[len(t.Failures)-1].Time
	case t.State == jobs.StateRunning && t.Started != nil:
		return *t.Started
	case t.State == jobs.StateQueued && t.RunAt.After(t.Created):
		return t.RunAt // its eta, or the time at which an operator retried it
	}
	return t.Created
}

// follow prints the tasks of a query, and then each change of a task to the state of the
// query or to any, until ctx is done, a signal arrives or nobody reads the output.
func (r *tasksRun) follow(ctx context.Context, q jobs.Query) error {
	// With a handler for SIGPIPE, a write to a closed pipe fails and does not end the process
	// (package os/signal).
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	err := r.followUntil(ctx, q)
	if ctx.Err() != nil || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func (r *tasksRun) followUntil(ctx context.Context, q jobs.Query) error {
	f := &follower{store: r.store, query: jobs.Query{Name: q.Name, Queue: q.Queue}}
	if _, err := f.next(ctx); err != nil {
		return err
	}
	if err := r.printPresent(ctx, q, f); err != nil {
		return err
	}
	away := false
	for took := time.Duration(0); !outputClosed(r.out); {
		select {
		case <-time.After(max(followPause, 4*took)):
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		changes, err := f.next(ctx)
		took = time.Since(began)
		switch {
		case err != nil && (ctx.Err() != nil || !errors.Is(err, jobs.ErrUnavailable)):
			return err
		case err != nil && !away:
			_, _ = fmt.Fprintf(r.errOut, "%s: %v; trying again\n", r.app.command(), err)
		case err == nil && away:
			_, _ = fmt.Fprintf(r.errOut, "%s: the task store is available again\n", r.app.command())
		}
		away = err != nil
		for _, t := range changes {
			if q.State != "" && t.State != q.State {
				continue
			}
			if err := r.printChange(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// printPresent prints the tasks that a query selects now, up to -limit, the newest last.
func (r *tasksRun) printPresent(ctx context.Context, q jobs.Query, f *follower) error {
	if !r.opt.JSON {
		if err := r.printColumns("CHANGED", "STATE", "ID", "TASK", "QUEUE", "ATTEMPTS", "ERROR"); err != nil {
			return err
		}
	}
	var present []*jobs.Task
	err := r.eachTask(ctx, q, func(t *jobs.Task) error {
		present = append(present, t)
		f.known[t.ID] = standingOf(t)
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range slices.Backward(present) {
		if err := r.printChange(t); err != nil {
			return err
		}
	}
	return nil
}

// followLine is the format of a line of "tasks list -follow". A stream of lines has no
// columns that fit all of them.
const followLine = "%-20v  %-9v  %-33v  %-20v  %-10v  %8v  %v"

// printChange prints one line, in one write.
func (r *tasksRun) printChange(t *jobs.Task) error {
	if r.opt.JSON {
		return json.NewEncoder(r.out).Encode(t)
	}
	return r.printColumns(changedAt(t).UTC().Format(time.RFC3339), t.State, t.ID, t.Name, t.Queue, t.Attempts, oneLine(t.Error))
}

// printColumns prints a line in the format followLine, without spaces at its end.
func (r *tasksRun) printColumns(values ...any) error {
	_, err := fmt.Fprintln(r.out, strings.TrimRight(fmt.Sprintf(followLine, values...), " "))
	return err
}

// outputClosed reports whether w is a pipe that nobody reads (POLLERR in poll(2)).
func outputClosed(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd())}} //nolint:gosec // a descriptor fits
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
