package redisstream

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs/driver"
)

// Progress implements driver.Recorder. percent is limited to 0 to 100, and note to 4 KiB.
func (s *Store) Progress(ctx context.Context, l *driver.Lease, percent int, note string) error {
	percent, note = min(max(percent, 0), 100), driver.Note(note)
	if err := held(s.call(ctx, progressScript, append(fence(l), percent, note)...)); err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}

// Finish implements driver.Recorder. Every outcome other than success is added to the
// failures, each cut to 4 KiB; the newest 100 are kept. Task.Error is cut to 64 KiB. A
// retrying task without RetryAt is due at once. Finish may be called again with the same
// outcome after a lost reply. If Outcome.Check returns an error, nothing is changed.
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
	args := []any{string(o.State), string(o.Result), o.Error, failure, driver.GroupReason(o.Error), artifacts, micro(o.RetryAt), len(o.Next), len(o.NextGroups)}
	for _, n := range o.Next {
		args = append(args, taskArgs(n)...)
	}
	for _, g := range o.NextGroups {
		values, err := groupArgs(g)
		if err != nil {
			return nil, err
		}
		args = append(args, values...)
	}
	// The token identifies the outcome, so that a repeated call is recognized.
	h := fnv.New128a()
	fmt.Fprintf(h, "%q", args)
	return append(append(fence(l), fmt.Sprintf("%x", h.Sum(nil))), args...), nil
}
