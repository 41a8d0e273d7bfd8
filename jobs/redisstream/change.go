package redisstream

import (
	"context"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// List implements jobs.Store.
func (s *Store) List(ctx context.Context, q jobs.Query) (*jobs.Page, error) {
	p, err := s.list(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return p, nil
}

func (s *Store) list(ctx context.Context, q jobs.Query) (*jobs.Page, error) {
	answer, err := s.soon(ctx, listScript, q.Before, q.PageSize(), string(q.State), q.Name, q.Queue, driver.ScanLimit, driver.PageBytes)
	if err != nil {
		return nil, err
	}
	now, next, err := numbers(answer)
	if err != nil {
		return nil, err
	}
	p := &jobs.Page{Tasks: []*jobs.Task{}, Next: next}
	for i := 2; i+1 < len(answer); i += 2 {
		t, err := decodeTask(fmt.Sprint(answer[i]), answer[i+1], now)
		if err != nil {
			return nil, err
		}
		p.Tasks = append(p.Tasks, t)
	}
	return p, nil
}

// Cancel implements jobs.Changer.
func (s *Store) Cancel(ctx context.Context, id string) (*jobs.Task, error) {
	t, done, err := s.change(ctx, id, "cancel")
	if err == nil && !done && t.State != jobs.StateCancelled {
		err = driver.EndedError(t)
	}
	if err != nil {
		return nil, fmt.Errorf("cancel task %s: %w", id, err)
	}
	return t, nil
}

// Purge implements jobs.Changer.
func (s *Store) Purge(ctx context.Context, ids []string, states []jobs.State) (int, error) {
	err := driver.CheckPurge(ids, states)
	var done int64
	if err == nil && len(ids) > 0 {
		args := []any{driver.PurgedReason, len(states)}
		for _, state := range states {
			args = append(args, string(state))
		}
		for _, id := range ids {
			args = append(args, id)
		}
		var answer []any
		if answer, err = s.soon(ctx, purgeScript, args...); err == nil {
			done, _, err = numbers(answer)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("purge tasks: %w", err)
	}
	return int(done), nil
}

// Requeue implements jobs.Changer.
func (s *Store) Requeue(ctx context.Context, id string) (*jobs.Task, error) {
	t, done, err := s.change(ctx, id, "requeue")
	if err == nil && !done {
		if err = driver.CheckRequeue(t); err == nil {
			err = errAnswer
		}
	}
	if err != nil {
		return nil, fmt.Errorf("requeue task %s: %w", id, err)
	}
	return t, nil
}

// change returns the task as it is after the step, and whether that was done.
func (s *Store) change(ctx context.Context, id, what string) (t *jobs.Task, done bool, err error) {
	answer, err := s.soon(ctx, changeScript, id, what, driver.CancelReason)
	if err != nil {
		return nil, false, err
	}
	did, now, err := numbers(answer)
	if err != nil {
		return nil, false, err
	}
	if len(answer) < 3 {
		return nil, false, jobs.ErrNotFound
	}
	t, err = decodeTask(id, answer[2], now)
	return t, did == 1, err
}

// Held implements driver.Leaser.
func (s *Store) Held(ctx context.Context, leases []*driver.Lease) ([]*driver.Lease, error) {
	lost, err := s.askLeases(ctx, heldScript, leases)
	if err != nil {
		return nil, fmt.Errorf("look at leases: %w", err)
	}
	return lost, nil
}
