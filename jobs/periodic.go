package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Periodic is a task that is started again and again.
type Periodic struct {
	Schedule Schedule
	// Task is what is started; its ID must be empty: the schedule gives one.
	Task NewTask
}

// MakeUp is for how long a moment can be made up that nobody was there for.
const MakeUp = 10 * time.Second

// Scheduler starts periodic tasks. Any number of them may run at once, in all
// processes of all machines: the id of a task is made of its name and its
// moment, and the same id is one task, so there is no leader that could die.
type Scheduler struct {
	client *Client
	all    []Periodic
	log    *slog.Logger
}

// NewScheduler makes a scheduler; log may be nil.
func NewScheduler(client *Client, all []Periodic, log *slog.Logger) *Scheduler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{client: client, all: all, log: log}
}

// Run starts what is due until ctx ends, and returns nil. What was due in the
// last MakeUp before it began is started too, unless somebody has; what is
// older is skipped. While the store is away each moment is tried again for
// MakeUp.
func (s *Scheduler) Run(ctx context.Context) error {
	if len(s.all) == 0 {
		<-ctx.Done()
		return nil
	}
	from := make([]time.Time, len(s.all))
	for i, p := range s.all {
		from[i] = time.Now().Add(-MakeUp)
		s.log.Info("task is scheduled", "task", p.Task.Name, "schedule", p.Schedule.String(), "next", p.Schedule.Next(time.Now()))
	}
	for ctx.Err() == nil {
		next := time.Now().Add(MakeUp)
		for i := range s.all {
			if at := s.start(ctx, s.all[i], &from[i]); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		pause(ctx, time.Until(next))
	}
	return nil
}

// start starts what has come due since the moment from, which it moves on, and
// returns when to look again.
func (s *Scheduler) start(ctx context.Context, p Periodic, from *time.Time) time.Time {
	now := time.Now()
	if old := now.Add(-MakeUp); from.Before(old) {
		if missed := p.Schedule.Next(*from); !missed.IsZero() && missed.Before(old) {
			s.log.Warn("moments of a schedule were missed", "task", p.Task.Name, "since", missed)
		}
		*from = old
	}
	for {
		at := p.Schedule.Next(*from)
		if at.IsZero() || at.After(now) {
			return at
		}
		n := p.Task
		n.ID = PeriodicID(n.Name, at)
		_, created, err := s.client.Enqueue(ctx, n)
		if err != nil {
			s.log.Warn("cannot start a scheduled task", "task", n.Name, "at", at, "error", err)
			return now.Add(retryStoreMin)
		}
		if created {
			s.log.Info("scheduled task accepted", "task", n.Name, "id", n.ID, "at", at)
		}
		*from = at
	}
}

// PeriodicID is the id of the task that a schedule starts at a moment.
func PeriodicID(name string, at time.Time) string {
	return fmt.Sprintf("%s-%s", name, at.UTC().Format("20060102T150405Z"))
}
