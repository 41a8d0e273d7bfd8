package redisstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var errReply = errors.New("unexpected reply from redis; check that the address is that of a Redis server of version 7 or newer")

// Enqueue implements jobs.Store. When it returns without an error, the server has the
// task. Whether the task is then on disk depends on the appendfsync setting of the server.
// For a few seconds the journal keeps the call, and repeats it if the server loses the task
// in a restart.
//
// If there is no reply within Options.Patience, the error wraps jobs.ErrUnavailable. The
// task may have been accepted, or may be accepted later when a stopped server continues.
// It is safe to enqueue it again with the same id.
func (s *Store) Enqueue(ctx context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	t, created, err := s.enqueue(ctx, n)
	if err != nil {
		return nil, false, fmt.Errorf("enqueue task: %w", err)
	}
	return t, created, nil
}

func (s *Store) enqueue(ctx context.Context, n jobs.NewTask) (*jobs.Task, bool, error) {
	if err := n.Check(); err != nil {
		return nil, false, err
	}
	args := append(taskArgs(n), n.Unique, n.UniqueFor.Milliseconds())
	reply, err := s.callInTime(ctx, enqueueScript, args...)
	if err != nil {
		return nil, false, err
	}
	created, now, err := numbers(reply)
	if err != nil {
		return nil, false, err
	}
	if created == 1 {
		s.journal.add(enqueueScript, args)
		return accepted(n, args, now), true, nil
	}
	if len(reply) < 4 {
		return nil, false, errReply
	}
	if created == -1 {
		return nil, false, driver.TakenError{ID: fmt.Sprint(reply[2]), Workflow: fmt.Sprint(reply[3])}
	}
	t, err := decodeTask(fmt.Sprint(reply[3]), reply[2], now)
	if err == nil {
		err = driver.CheckSameTask(n, t)
	}
	return t, false, err
}

// numbers reads the first two values of a reply as integers. It also accepts texts, because
// scripts return times as texts.
func numbers(reply []any) (a, b int64, err error) {
	if len(reply) < 2 {
		return 0, 0, errReply
	}
	f := fields{values: map[string]string{"a": fmt.Sprint(reply[0]), "b": fmt.Sprint(reply[1])}}
	a, b = f.number("a"), f.number("b")
	return a, b, f.err
}

// accepted returns the task that the script has stored at now, in microseconds. It is built
// from n, so that it need not be read from Redis.
func accepted(n jobs.NewTask, args []any, now int64) *jobs.Task {
	t := &jobs.Task{
		ID: n.ID, Name: n.Name, Queue: fmt.Sprint(args[2]), Args: json.RawMessage(fmt.Sprint(args[3])), State: jobs.StateQueued,
		Created: fromMicro(now), RunAt: fromMicro(now), Timeout: n.Timeout, MaxRetries: n.MaxRetries,
		Signature: n.Signature, Version: 1, Failures: []jobs.Failure{}, Artifacts: []string{},
		Followers: slices.Clone(n.Followers), Digest: n.Digest, Kwargs: n.Kwargs, Headers: n.Headers,
	}
	t.Repair()
	if len(n.Followers) > 0 {
		t.Workflow = n.ID
	}
	if at := micro(n.RunAt); at != 0 {
		t.RunAt = fromMicro(at)
		if at > now {
			t.State = jobs.StateScheduled
		}
	}
	return t
}

// EnqueueGroup implements jobs.Store. It blocks Redis for about 20 ms for a thousand
// members.
func (s *Store) EnqueueGroup(ctx context.Context, g jobs.NewGroup) (bool, error) {
	created, err := s.enqueueGroup(ctx, g)
	if err != nil {
		return false, fmt.Errorf("enqueue group: %w", err)
	}
	return created, nil
}

func (s *Store) enqueueGroup(ctx context.Context, g jobs.NewGroup) (bool, error) {
	if err := g.Check(); err != nil {
		return false, err
	}
	args, err := groupArgs(g)
	if err != nil {
		return false, err
	}
	reply, err := s.callInTime(ctx, groupScript, args...)
	switch {
	case err != nil:
		return false, err
	case len(reply) == 3:
		return false, driver.TakenError{ID: fmt.Sprint(reply[1]), Workflow: fmt.Sprint(reply[2])}
	case len(reply) == 2:
		return false, driver.CheckSameGroup(g, fmt.Sprint(reply[1]))
	case len(reply) != 1:
		return false, errReply
	}
	s.journal.add(groupScript, args)
	return true, nil
}

// groupArgs returns the script arguments for a group and its tasks. The function accept_group
// in lib.lua reads them.
func groupArgs(g jobs.NewGroup) ([]any, error) {
	ids, tasks := make([]string, len(g.Members)), []any{}
	for i, n := range g.Members {
		ids[i] = n.ID
		tasks = append(tasks, taskArgs(n)...)
	}
	callbacks := 0
	if g.Callback != nil {
		n := *g.Callback
		var compact bytes.Buffer // the script inserts results after the first or before the last bracket
		if n.Args != nil {
			if err := json.Compact(&compact, n.Args); err != nil {
				return nil, err
			}
			n.Args = compact.Bytes()
		}
		callbacks, tasks = 1, append(tasks, taskArgs(n)...)
	}
	members, err := jsonText(ids)
	if err != nil {
		return nil, err
	}
	return append([]any{g.ID, g.Digest, members, driver.GroupResults(g), callbacks, len(ids)}, tasks...), nil
}
