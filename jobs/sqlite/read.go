package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/jobs"
)

// Get implements jobs.Reader. It does not wait for writers, unless it has to cancel a task
// whose Expires has passed.
func (s *Store) Get(ctx context.Context, id string) (*jobs.Task, error) {
	r, err := s.get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", id, err)
	}
	return &r.task, nil
}

func (s *Store) get(ctx context.Context, id string) (*row, error) {
	r, err := readTask(s.read.queryRow(ctx, getTask, id), time.Now())
	if err == nil && r.expired(time.Now()) {
		// No worker has called Lease since the task expired, so this call cancels it.
		if err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error { return tx.expire(ctx) }); err != nil {
			return nil, err
		}
		r, err = readTask(s.read.queryRow(ctx, getTask, id), time.Now())
	}
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		err = s.readError(ctx, err)
	}
	if err == nil && s.gone(r.task.Finished, time.Now()) {
		return nil, jobs.ErrNotFound
	}
	return r, err
}

// Watch implements jobs.Reader. The version increases by one with every change of a visible
// field. It does not increase when a lease is extended. Nor does it increase when the RunAt
// of a scheduled task comes: the task is then shown as queued, but nothing is written.
func (s *Store) Watch(ctx context.Context, id string, after int64) (*jobs.Task, error) {
	var w *waiter
	for {
		r, err := s.get(ctx, id)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, fmt.Errorf("watch task %s: %w", id, err)
		case r.task.Version > after:
			return &r.task, nil
		}
		if w == nil {
			// Read once more: a change since the first read was not signalled.
			w = s.poller.watch(r.seq, after)
			defer s.poller.leave(w)
			continue
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
