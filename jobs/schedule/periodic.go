package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/galeserver/gale/internal/clockset"
	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// Periodic is a task that is enqueued at each occurrence of a schedule.
type Periodic struct {
	Schedule Schedule
	// Task is the task to enqueue. Its ID must be empty: the scheduler sets it.
	Task jobs.NewTask
	// Once is true to catch up after a time in which no scheduler ran: the last occurrence
	// older than MakeUp is enqueued, and earlier ones are skipped. If it is false, all
	// occurrences older than MakeUp are skipped.
	Once bool
}

// Missed is the word of the tasks file for what happens to missed occurrences.
func (p Periodic) Missed() string {
	if p.Once {
		return "once"
	}
	return "skip"
}

// MakeUp is the maximum age of a missed occurrence that is still enqueued. Older occurrences
// are skipped, except as described at Periodic.Once.
const MakeUp = 10 * time.Second

// retryAfter is the delay before the next attempt after an error of the store.
const retryAfter = 100 * time.Millisecond

// Scheduler enqueues periodic tasks. Any number of schedulers may run at the same time,
// in all processes on all machines, without a leader. The id of a task is made of its name
// and the time of the occurrence, and the store accepts an id only once, so each occurrence
// is one task.
type Scheduler struct {
	client *jobs.Client
	marks  driver.Marker
	tasks  []Periodic
	log    *slog.Logger
}

// New makes a scheduler. marks stores the last occurrence of each task with Once, and may
// be nil if no task has Once. If log is nil, nothing is logged.
func New(client *jobs.Client, marks driver.Marker, tasks []Periodic, log *slog.Logger) *Scheduler {
	return &Scheduler{client: client, marks: marks, tasks: tasks, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
}

// Run enqueues the tasks of each occurrence until ctx ends, and returns nil. It starts
// with the occurrences of the last 10 s (MakeUp), unless another scheduler has enqueued
// them. Older ones are skipped; if Once is set, the last of them is enqueued. While the
// store is unavailable, each occurrence is retried until it is older than MakeUp.
func (s *Scheduler) Run(ctx context.Context) error {
	if len(s.tasks) == 0 {
		<-ctx.Done()
		return nil
	}
	plans := make([]plan, len(s.tasks))
	for i, p := range s.tasks {
		plans[i] = plan{Periodic: p, from: time.Now().Add(-MakeUp), catchUp: p.Once}
		s.log.Info("task is scheduled", "task", p.Task.Name, "schedule", p.Schedule.String(), "next", p.Schedule.Next(time.Now()))
	}
	for last := time.Now(); ctx.Err() == nil; {
		now := time.Now()
		if back := -clockset.Step(last, now); back > MakeUp {
			s.log.Warn("the clock was set back", "by", back.Round(time.Millisecond))
			for i := range plans {
				plans[i].setBack(now, back)
			}
		}
		last = now
		next := now.Add(MakeUp)
		for i := range plans {
			if at := s.enqueueDue(ctx, &plans[i]); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		sleep.For(ctx, time.Until(next))
	}
	return nil
}

// plan is the state of one periodic task in a scheduler.
type plan struct {
	Periodic
	from    time.Time // time up to which all occurrences are enqueued or skipped
	catchUp bool      // true if the last occurrence before from must still be enqueued

	// reached are the times that the clock showed when it was set back. An occurrence before one
	// of them may have run already.
	reached []time.Time
}

// correction is the largest step back of the clock after which fixed times are not repeated, as
// in cron(8).
const correction = 3 * time.Hour

// setBack continues the plan after the clock was set back to now. Schedules with a wildcard and
// intervals go on by the new time. Fixed times do so only after a large step.
func (p *plan) setBack(now time.Time, back time.Duration) {
	if p.Schedule.Fixed() && back <= correction {
		return
	}
	p.reached = append(p.reached, now.Round(0).Add(back))
	p.from = now.Round(0)
}

// id returns the id of the task of an occurrence. If the clock shows its time again, the id is
// that of the first time and a number. All schedulers that ran before agree on it; one that was
// started later finds the task of the first time and enqueues none.
func (p *plan) id(at time.Time) string {
	id, times := ID(p.Task.Name, at), 1
	for _, r := range p.reached {
		if !at.After(r) {
			times++
		}
	}
	if times == 1 {
		return id
	}
	return fmt.Sprint(id, "-", times)
}

// enqueueDue enqueues all occurrences since p.from, advances p.from, and returns the time
// at which to call it again.
func (s *Scheduler) enqueueDue(ctx context.Context, p *plan) time.Time {
	now := time.Now()
	if old := now.Add(-MakeUp); p.from.Before(old) {
		if missed := p.Schedule.Next(p.from); !missed.IsZero() && missed.Before(old) {
			s.log.Warn("scheduled times were missed", "task", p.Task.Name, "since", missed, "catch_up", p.Once)
			p.catchUp = p.Once
		}
		p.from = old
	}
	if p.catchUp {
		if err := s.enqueueMissed(ctx, p); err != nil {
			s.log.Warn("cannot enqueue the missed run of a scheduled task", "task", p.Task.Name, "error", err)
			return now.Add(retryAfter)
		}
		p.catchUp = false
	}
	for {
		at := p.Schedule.Next(p.from)
		if at.IsZero() || at.After(now) {
			return at
		}
		if err := s.enqueue(ctx, p, at); err != nil {
			s.log.Warn("cannot enqueue a scheduled task", "task", p.Task.Name, "at", at, "error", err)
			return now.Add(retryAfter)
		}
		p.from = at
	}
}

// enqueue enqueues the task of one occurrence, unless another scheduler has done it.
func (s *Scheduler) enqueue(ctx context.Context, p *plan, at time.Time) error {
	n := p.Task
	n.ID = p.id(at)
	_, created, err := s.client.Enqueue(ctx, n)
	if errors.Is(err, jobs.ErrTaken) { // a retry would block all later occurrences
		s.log.Warn("scheduled task skipped: its id is taken", "task", n.Name, "at", at, "error", err)
		return nil
	}
	if err != nil || !created {
		return err
	}
	s.log.Info("scheduled task accepted", "task", n.Name, "id", n.ID, "at", at)
	if !p.Once {
		return nil
	}
	// If this write is lost, the occurrence is enqueued again with the same id.
	_, err = s.marks.Mark(ctx, p.mark(), at)
	return err
}

// mark returns the name of the mark: the stored time of the last enqueued occurrence.
func (p Periodic) mark() string { return "schedule:" + p.Task.Name }

// enqueueMissed enqueues the last occurrence between the mark and p.from, if there is one. A
// task without a mark is new: nothing is enqueued, and its mark is set to p.from.
func (s *Scheduler) enqueueMissed(ctx context.Context, p *plan) error {
	marked, err := s.marks.Mark(ctx, p.mark(), time.Time{}) // the zero time only reads the mark
	if err != nil {
		return err
	}
	if marked.IsZero() {
		_, err := s.marks.Mark(ctx, p.mark(), p.from)
		return err
	}
	last := p.Schedule.last(marked, p.from)
	if last.IsZero() {
		return nil
	}
	s.log.Info("enqueuing the last missed run of a scheduled task", "task", p.Task.Name, "at", last)
	return s.enqueue(ctx, p, last)
}

// ID returns the id of the task with the name for the occurrence at a time.
func ID(name string, at time.Time) string {
	return fmt.Sprintf("%s-%s", name, at.UTC().Format("20060102T150405Z"))
}
