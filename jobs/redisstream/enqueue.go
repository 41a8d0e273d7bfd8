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

var errAnswer = errors.New("redis answers what was not asked")

// Enqueue implements jobs.Store. The server has the task when it returns;
// whether a disk has it too is for the server's appendfsync to say, and for a
// while the store remembers it, see journal. If the
// answer does not come within Patience, the error wraps jobs.ErrUnavailable, and
// the task may have been accepted, or may be so later, when the server wakes up:
// whoever sends it again with the same id has one task in any case.
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
	answer, err := s.soon(ctx, enqueueScript, args...)
	if err != nil {
		return nil, false, err
	}
	created, now, err := numbers(answer)
	if err != nil {
		return nil, false, err
	}
	if created == 1 {
		s.journal.add(enqueueScript, args)
		return accepted(n, args, now), true, nil
	}
	if len(answer) < 4 {
		return nil, false, errAnswer
	}
	if created == -1 {
		return nil, false, driver.TakenError{ID: fmt.Sprint(answer[2]), Workflow: fmt.Sprint(answer[3])}
	}
	t, err := decodeTask(fmt.Sprint(answer[3]), answer[2], now)
	if err == nil {
		err = driver.CheckSameTask(n, t)
	}
	return t, false, err
}

// numbers reads the first two parts of an answer; times come as texts.
func numbers(answer []any) (a, b int64, err error) {
	if len(answer) < 2 {
		return 0, 0, errAnswer
	}
	f := fields{values: map[string]string{"a": fmt.Sprint(answer[0]), "b": fmt.Sprint(answer[1])}}
	a, b = f.number("a"), f.number("b")
	return a, b, f.err
}

// accepted is what a task reads as that was accepted now.
func accepted(n jobs.NewTask, args []any, now int64) *jobs.Task {
	t := &jobs.Task{
		ID: n.ID, Name: n.Name, Queue: fmt.Sprint(args[2]), Args: json.RawMessage(fmt.Sprint(args[3])), State: jobs.StateQueued,
		Created: fromMicro(now), RunAt: fromMicro(now), Timeout: n.Timeout, MaxRetries: n.MaxRetries,
		Signature: n.Signature, Version: 1, Failures: []jobs.Failure{}, Artifacts: []string{},
		Followers: slices.Clone(n.Followers), Digest: n.Digest,
	}
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

// EnqueueGroup implements jobs.Store. Redis does nothing else meanwhile: a
// thousand members take some 20 ms.
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
	ids, tasks := make([]string, len(g.Members)), []any{}
	for i, n := range g.Members {
		ids[i] = n.ID
		tasks = append(tasks, taskArgs(n)...)
	}
	callbacks := 0
	if g.Callback != nil {
		n := *g.Callback
		var compact bytes.Buffer // the script puts results before the last bracket
		if n.Args != nil {
			if err := json.Compact(&compact, n.Args); err != nil {
				return false, err
			}
			n.Args = compact.Bytes()
		}
		callbacks, tasks = 1, append(tasks, taskArgs(n)...)
	}
	members, err := jsonText(ids)
	if err != nil {
		return false, err
	}
	immutable := 0
	if g.Immutable {
		immutable = 1
	}
	args := append([]any{g.ID, g.Digest, members, immutable, callbacks, len(ids)}, tasks...)
	answer, err := s.soon(ctx, groupScript, args...)
	switch {
	case err != nil:
		return false, err
	case len(answer) == 3:
		return false, driver.TakenError{ID: fmt.Sprint(answer[1]), Workflow: fmt.Sprint(answer[2])}
	case len(answer) == 2:
		return false, driver.CheckSameGroup(g, fmt.Sprint(answer[1]))
	case len(answer) != 1:
		return false, errAnswer
	}
	s.journal.add(groupScript, args)
	return true, nil
}
