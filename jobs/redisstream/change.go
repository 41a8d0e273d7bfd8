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
	since, until := q.Period()
	reply, err := s.callInTime(ctx, listScript, q.Before, q.PageSize(), string(q.State), q.Name, q.Queue, driver.ScanLimit, driver.PageBytes,
		since, until, q.Text)
	if err != nil {
		return nil, err
	}
	now, next, err := numbers(reply)
	if err != nil {
		return nil, err
	}
	p := &jobs.Page{Tasks: []*jobs.Task{}, Next: next}
	for i := 2; i+1 < len(reply); i += 2 {
		t, err := decodeTask(fmt.Sprint(reply[i]), reply[i+1], now)
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
		var reply []any
		if reply, err = s.callInTime(ctx, purgeScript, args...); err == nil {
			done, _, err = numbers(reply)
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
			err = errReply
		}
	}
	if err != nil {
		return nil, fmt.Errorf("requeue task %s: %w", id, err)
	}
	return t, nil
}

// change cancels or requeues a task. It returns the resulting task, and whether the script
// changed it.
func (s *Store) change(ctx context.Context, id, what string) (t *jobs.Task, done bool, err error) {
	reply, err := s.callInTime(ctx, changeScript, id, what, driver.CancelReason)
	if err != nil {
		return nil, false, err
	}
	did, now, err := numbers(reply)
	if err != nil {
		return nil, false, err
	}
	if len(reply) < 3 {
		return nil, false, jobs.ErrNotFound
	}
	t, err = decodeTask(id, reply[2], now)
	return t, did == 1, err
}

// Held implements driver.Leaser.
func (s *Store) Held(ctx context.Context, leases []*driver.Lease) ([]*driver.Lease, error) {
	lost, err := s.checkLeases(ctx, heldScript, leases)
	if err != nil {
		return nil, fmt.Errorf("check leases: %w", err)
	}
	return lost, nil
}
