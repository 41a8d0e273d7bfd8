package redisstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// End implements driver.Remote.
func (s *Store) End(ctx context.Context, l *driver.Lease, e driver.Ending) (driver.Ended, error) {
	ended, err := s.end(ctx, l, e)
	if err != nil {
		return driver.Ended{}, fmt.Errorf("end attempt at task %s: %w", l.Task.ID, err)
	}
	return ended, nil
}

func (s *Store) end(ctx context.Context, l *driver.Lease, e driver.Ending) (driver.Ended, error) {
	if err := e.Check(); err != nil {
		return driver.Ended{}, err
	}
	t, err := s.Get(ctx, l.Task.ID)
	if errors.Is(err, jobs.ErrNotFound) {
		err = jobs.ErrLeaseLost
	}
	if err != nil {
		return driver.Ended{}, err
	}
	// While the lease is current, nothing that the outcome depends on changes. If it is not,
	// the script does not use the outcome.
	args := []any{string(e.Kind), micro(e.At), driver.MaxEnded}
	if e.Kind == driver.EndFinished {
		o, err := e.Outcome(t)
		if err != nil {
			return driver.Ended{}, err
		}
		values, err := outcomeArgs(l, o)
		if err != nil {
			return driver.Ended{}, err
		}
		args = append(append(args, string(o.State)), values...)
	} else {
		args = append(append(args, ""), fence(l)...)
	}
	reply, err := s.call(ctx, endScript, args...)
	if err != nil {
		return driver.Ended{}, err
	}
	if len(reply) != 2 {
		return driver.Ended{}, errReply
	}
	text, _ := reply[0].(string)
	ended := driver.Ended{Task: t, State: jobs.State(text), Again: reply[1] == int64(1)}
	if ended.State == "" {
		return driver.Ended{}, jobs.ErrLeaseLost
	}
	if e.Kind == driver.EndLost && !ended.Again {
		s.countLost(t, ended.State)
	}
	return ended, nil
}

// countLost counts and logs that the lease of a task was lost.
func (s *Store) countLost(t *jobs.Task, state jobs.State) {
	s.opts.Meter.Count(meter.EventRedelivered, t.Name, t.Queue)
	if state == jobs.StateDead {
		s.opts.Meter.Count(meter.EventDead, t.Name, t.Queue)
		s.opts.Logger.Warn("task is a dead letter: its lease was lost too often", "id", t.ID, "task", t.Name, "queue", t.Queue)
	}
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
