package redisstream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// errIncomplete is the error for a missing task while the journal is replayed to a
// restarted server.
var errIncomplete = fmt.Errorf("%w: redis was restarted, and the last tasks are being restored; try again", jobs.ErrUnavailable)

// Get implements jobs.Reader.
func (s *Store) Get(ctx context.Context, id string) (*jobs.Task, error) {
	t, err := s.get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", id, err)
	}
	return t, nil
}

func (s *Store) get(ctx context.Context, id string) (*jobs.Task, error) {
	hash, now, err := s.hash(ctx, "task", id)
	if err != nil {
		return nil, err
	}
	return decodeTask(id, hash, now)
}

// hash reads the hash of a task or group, or returns jobs.ErrNotFound.
func (s *Store) hash(ctx context.Context, kind, id string) (hash any, now int64, err error) {
	reply, err := s.callInTime(ctx, getScript, kind, id)
	if err != nil {
		return nil, 0, err
	}
	if len(reply) != 2 {
		return nil, 0, errReply
	}
	if list, _ := reply[1].([]any); len(list) == 0 {
		if s.journal.isIncomplete() {
			return nil, 0, errIncomplete
		}
		return nil, 0, jobs.ErrNotFound
	}
	now, _, err = numbers([]any{reply[0], 0})
	return reply[1], now, err
}

// Watch implements jobs.Reader. The version increases by one with every change of a visible
// field. It does not increase when a lease is extended. Nor does it increase when the RunAt
// of a scheduled task comes: the task is then shown as queued, but nothing is written.
func (s *Store) Watch(ctx context.Context, id string, after int64) (*jobs.Task, error) {
	var w *waiter
	for {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		t, err := s.get(ctx, id)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, fmt.Errorf("watch task %s: %w", id, err)
		case t.Version > after:
			return t, nil
		}
		if w == nil {
			w = s.hub.join(s.key + ":changed:" + id) // w is woken when the channel is subscribed
			defer s.hub.leave(w)
		}
		select {
		case <-w.wake:
		case <-s.closed:
			return nil, fmt.Errorf("watch task %s: %w", id, errClosed)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Group implements jobs.Reader.
func (s *Store) Group(ctx context.Context, id string) (*jobs.Group, error) {
	g, err := s.group(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get group %s: %w", id, err)
	}
	return g, nil
}

func (s *Store) group(ctx context.Context, id string) (*jobs.Group, error) {
	f, err := s.groupFields(ctx, id)
	if err != nil {
		return nil, err
	}
	g := &jobs.Group{
		ID: id, Callback: f.text("callback"), Succeeded: int(f.number("succeeded")), Failed: int(f.number("failed")),
		FailedMember: f.text("failed_id"), Error: utf8text.Repair(f.text("reason")),
		Created: fromMicro(f.number("created")), Finished: f.time("finished"), Aborted: f.text("aborted") != "",
	}
	if f.err != nil {
		return nil, f.err
	}
	return g, json.Unmarshal(f.raw("members"), &g.Members)
}

// ping returns the number of tasks that the server has ever accepted.
func (s *Store) ping(ctx context.Context) (int64, error) {
	reply, err := s.callInTime(ctx, pingScript)
	if err != nil {
		return 0, err
	}
	n, _, err := numbers(append(reply, 0))
	return n, err
}

// Ready runs all commands that the store needs, on separate keys that expire after a minute.
// The error wraps jobs.ErrUnavailable if Redis does not respond or refuses one of them.
func (s *Store) Ready(ctx context.Context) error {
	if _, err := s.run(ctx, probeScript); err != nil {
		return fmt.Errorf("test the task store: %w", err)
	}
	return nil
}

func (s *Store) groupFields(ctx context.Context, id string) (*fields, error) {
	hash, _, err := s.hash(ctx, "group", id)
	if err != nil {
		return nil, err
	}
	return decodeHash(hash)
}

// Depth implements driver.Gauger. It reads no tasks; its cost depends on the number of
// queues.
func (s *Store) Depth(ctx context.Context) ([]driver.Depth, error) {
	reply, err := s.callInTime(ctx, depthScript)
	if err != nil {
		return nil, fmt.Errorf("measure queues: %w", err)
	}
	var all []driver.Depth
	for _, each := range reply {
		v, ok := each.([]any)
		if !ok || len(v) != 8 {
			return nil, fmt.Errorf("measure queues: %w", errReply)
		}
		f := fields{values: map[string]string{}}
		for i, name := range []string{"queue", "waiting", "scheduled", "running", "dead", "oldest", "paused"} {
			f.values[name] = fmt.Sprint(v[i])
		}
		d := driver.Depth{
			Queue: f.text("queue"), Waiting: int(f.number("waiting")), Scheduled: int(f.number("scheduled")),
			Running: int(f.number("running")), Dead: int(f.number("dead")),
			Oldest: time.Duration(f.number("oldest")) * time.Microsecond, Paused: f.number("paused") == 1,
			Broken: fmt.Sprint(v[7]),
		}
		if d.Broken != "" {
			d.Broken = unavailable(scriptError(d.Broken)).Error()
		}
		if f.err != nil {
			return nil, fmt.Errorf("measure queues: %w", f.err)
		}
		if d.Waiting+d.Scheduled+d.Running+d.Dead > 0 || d.Paused || d.Broken != "" {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b driver.Depth) int { return strings.Compare(a.Queue, b.Queue) })
	return all, nil
}
