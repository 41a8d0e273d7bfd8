package redisstream

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs/driver"
)

// Progress implements driver.Recorder. A percent outside 0 to 100 is taken for
// the nearer of them; a note is cut to 4 KiB.
func (s *Store) Progress(ctx context.Context, l *driver.Lease, percent int, note string) error {
	percent, note = min(max(percent, 0), 100), driver.Note(note)
	if err := held(s.call(ctx, progressScript, append(fence(l), percent, note)...)); err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Finish implements driver.Recorder. Every outcome but Success is added to the
// failures, of which the newest 100 are kept, each cut to 4 KiB; the task's
// Error is cut to 64 KiB. A Retrying outcome without a time is due at once. To
// finish once more with the same outcome, because the first answer was lost, is
// no error.
//
// A state that is no outcome, a result that is not JSON and a next task that
// Enqueue would refuse are errors, and nothing is changed.
func (s *Store) Finish(ctx context.Context, l *driver.Lease, o driver.Outcome) error {
	args, err := outcomeArgs(l, o)
	if err == nil {
		err = held(s.call(ctx, finishScript, args...))
	}
	if err != nil {
		return fmt.Errorf("finish task %s: %w", l.Task.ID, err)
	}
	return nil
}

func outcomeArgs(l *driver.Lease, o driver.Outcome) ([]any, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.Bounded()
	failure, err := jsonText(utf8text.Cut(o.Error, driver.MaxFailure))
	if err != nil {
		return nil, err
	}
	artifacts := "[]"
	if len(o.Artifacts) > 0 {
		if artifacts, err = jsonText(o.Artifacts); err != nil {
			return nil, err
		}
	}
	args := []any{string(o.State), string(o.Result), o.Error, failure, driver.GroupReason(o.Error), artifacts, micro(o.RetryAt), len(o.Next)}
	for _, n := range o.Next {
		args = append(args, taskArgs(n)...)
	}
	// The same outcome has the same token, and no other.
	h := fnv.New128a()
	fmt.Fprintf(h, "%q", args)
	return append(append(fence(l), fmt.Sprintf("%x", h.Sum(nil))), args...), nil
}
