package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Periodic is a task that is started again and again.
type Periodic struct {
	Schedule Schedule
	// Task is what is started; its ID must be empty: the schedule gives one.
	Task jobs.NewTask
	// Once makes up for moments that nobody was there for: the last of them is
	// started, once. Otherwise what is older than MakeUp is skipped.
	Once bool
}

// MakeUp is for how long a moment can be made up that nobody was there for.
const MakeUp = 10 * time.Second

// retryAfter is the time until a store that failed is asked again.
const retryAfter = 100 * time.Millisecond

// Scheduler starts periodic tasks. Any number of them may run at once, in all
// processes of all machines: the id of a task is made of its name and its
// moment, and the same id is one task, so there is no leader that could die.
type Scheduler struct {
	client *jobs.Client
	marks  driver.Marker
	all    []Periodic
	log    *slog.Logger
}

// New makes a scheduler. marks remembers what was started last, for
// those with Once; log may be nil.
func New(client *jobs.Client, marks driver.Marker, all []Periodic, log *slog.Logger) *Scheduler {
	return &Scheduler{client: client, marks: marks, all: all, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
}

// Run starts what is due until ctx ends, and returns nil. What was due in the
// last MakeUp before it began is started too, unless somebody has; what is
// older is skipped, or made up for once. While the store is away each moment is
// tried again for MakeUp.
func (s *Scheduler) Run(ctx context.Context) error {
	if len(s.all) == 0 {
		<-ctx.Done()
		return nil
	}
	plans := make([]plan, len(s.all))
	for i, p := range s.all {
		plans[i] = plan{Periodic: p, from: time.Now().Add(-MakeUp), behind: p.Once}
		s.log.Info("task is scheduled", "task", p.Task.Name, "schedule", p.Schedule.String(), "next", p.Schedule.Next(time.Now()))
	}
	for ctx.Err() == nil {
		next := time.Now().Add(MakeUp)
		for i := range plans {
			if at := s.start(ctx, &plans[i]); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		pause(ctx, time.Until(next))
	}
	return nil
}

// plan is where a scheduler is with a schedule.
type plan struct {
	Periodic
	from   time.Time // the last moment that was seen to
	behind bool      // what came before is still to be made up for
}

// start starts what has come due since p.from, which it moves on, and returns
// when to look again.
func (s *Scheduler) start(ctx context.Context, p *plan) time.Time {
	now := time.Now()
	if old := now.Add(-MakeUp); p.from.Before(old) {
		if missed := p.Schedule.Next(p.from); !missed.IsZero() && missed.Before(old) {
			s.log.Warn("moments of a schedule were missed", "task", p.Task.Name, "since", missed, "made_up", p.Once)
			p.behind = p.Once
		}
		p.from = old
	}
	if p.behind {
		if err := s.makeUp(ctx, *p); err != nil {
			s.log.Warn("cannot make up for a scheduled task", "task", p.Task.Name, "error", err)
			return now.Add(retryAfter)
		}
		p.behind = false
	}
	for {
		at := p.Schedule.Next(p.from)
		if at.IsZero() || at.After(now) {
			return at
		}
		if err := s.begin(ctx, *p, at); err != nil {
			s.log.Warn("cannot start a scheduled task", "task", p.Task.Name, "at", at, "error", err)
			return now.Add(retryAfter)
		}
		p.from = at
	}
}

// begin starts the task of a moment, unless somebody has.
func (s *Scheduler) begin(ctx context.Context, p plan, at time.Time) error {
	n := p.Task
	n.ID = ID(n.Name, at)
	_, created, err := s.client.Enqueue(ctx, n)
	if errors.Is(err, jobs.ErrTaken) { // to try again would keep the schedule from going on
		s.log.Warn("scheduled task is skipped: its id is taken", "task", n.Name, "at", at, "error", err)
		return nil
	}
	if err != nil || !created {
		return err
	}
	s.log.Info("scheduled task accepted", "task", n.Name, "id", n.ID, "at", at)
	if !p.Once {
		return nil
	}
	// If this is lost, the moment is made up for by the same id.
	_, err = s.marks.Mark(ctx, p.mark(), at)
	return err
}

func (p Periodic) mark() string { return "schedule:" + p.Task.Name }

// makeUp starts the last moment since the mark that nobody was there for. A
// schedule without a mark is new and has missed nothing; it is marked now.
func (s *Scheduler) makeUp(ctx context.Context, p plan) error {
	was, err := s.marks.Mark(ctx, p.mark(), time.Time{})
	if err != nil {
		return err
	}
	if was.IsZero() {
		_, err := s.marks.Mark(ctx, p.mark(), p.from)
		return err
	}
	last := p.Schedule.last(was, p.from)
	if last.IsZero() {
		return nil
	}
	s.log.Info("missed moment is made up for", "task", p.Task.Name, "at", last)
	return s.begin(ctx, p, last)
}

// ID is the id of the task that a schedule starts at a moment.
func ID(name string, at time.Time) string {
	return fmt.Sprintf("%s-%s", name, at.UTC().Format("20060102T150405Z"))
}

// schedulePause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
