package redisstream

import (
	"context"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// End implements driver.Remote.
func (s *Store) End(ctx context.Context, l *driver.Lease, e driver.Ending) (jobs.State, bool, error) {
	state, again, err := s.end(ctx, l, e)
	if err != nil {
		return "", false, fmt.Errorf("end attempt at task %s: %w", l.Task.ID, err)
	}
	return state, again, nil
}

func (s *Store) end(ctx context.Context, l *driver.Lease, e driver.Ending) (state jobs.State, again bool, err error) {
	if err := e.Check(); err != nil {
		return "", false, err
	}
	args := []any{string(e.Kind), micro(e.At), driver.MaxEnded, string(e.Outcome.State)}
	if e.Kind == driver.EndFinished {
		values, err := outcomeArgs(l, e.Outcome)
		if err != nil {
			return "", false, err
		}
		args = append(args, values...)
	} else {
		args = append(args, fence(l)...)
	}
	reply, err := s.call(ctx, endScript, args...)
	if err != nil {
		return "", false, err
	}
	if len(reply) != 2 {
		return "", false, errReply
	}
	text, _ := reply[0].(string)
	if state, again = jobs.State(text), reply[1] == int64(1); state == "" {
		return "", false, jobs.ErrLeaseLost
	}
	if e.Kind == driver.EndLost && !again {
		s.opts.Meter.Count(meter.EventRedelivered, l.Task.Name, l.Task.Queue)
		if state == jobs.StateDead {
			s.opts.Meter.Count(meter.EventDead, l.Task.Name, l.Task.Queue)
			s.opts.Logger.Warn("task is a dead letter: its lease was lost too often", "id", l.Task.ID, "task", l.Task.Name, "queue", l.Task.Queue)
		}
	}
	return state, again, nil
}

// ReleaseOthers implements driver.Remote.
func (s *Store) ReleaseOthers(ctx context.Context, owner string, keep []*driver.Lease) (int, error) {
	args := []any{owner}
	for _, l := range keep {
		args = append(args, l.Task.ID, l.Attempt)
	}
	reply, err := s.run(ctx, othersScript, args...)
	if err == nil {
		var n int64
		if n, _, err = numbers(reply); err == nil {
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("release leases of %s: %w", owner, err)
}

// Report implements driver.Remote.
func (s *Store) Report(ctx context.Context, l *driver.Lease, r driver.Report) error {
	percent, note, flag := 0, "", map[bool]string{true: "1"}
	if r.Percent != nil {
		percent = *r.Percent
	}
	if r.Note != nil {
		note = *r.Note
	}
	args := append(fence(l), percent, note, flag[r.Percent == nil], flag[r.Note == nil], string(r.Meta))
	if err := held(s.call(ctx, progressScript, args...)); err != nil {
		return fmt.Errorf("record progress of task %s: %w", l.Task.ID, err)
	}
	return nil
}
