package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// Schedule starts a task of the application again and again, like a schedule of the
// tasks file. A task has one schedule.
type Schedule struct {
	// Task is the name of a task in Application.Tasks.
	Task string
	// At is when, as in the tasks file: five fields of cron, which may follow
	// CRON_TZ=Europe/Berlin, or @every 10m.
	At string
	// Args are the arguments of the task, by position.
	Args []any
	// Once makes up for moments at which no worker was there: the last of them is
	// started, once. Otherwise they are skipped.
	Once bool
}

// periodic are the application's schedules as workers start them.
func (a *Application) periodic() ([]schedule.Periodic, error) {
	var all []schedule.Periodic
	var faults []error
	tasks, err := jobs.NewRegistry(a.tasks()...)
	if err != nil {
		return nil, err
	}
	client := &jobs.Client{Store: offlineStore{}, Tasks: tasks}
	seen := map[string]bool{}
	for _, s := range a.Schedules {
		p, err := s.periodic(client)
		switch {
		case seen[s.Task]:
			faults = append(faults, fmt.Errorf("schedule of %s: there are two", s.Task))
		case err != nil:
			faults = append(faults, fmt.Errorf("schedule of %s: %w", s.Task, err))
		}
		seen[s.Task] = true
		all = append(all, p)
	}
	return all, errors.Join(faults...)
}

// periodic checks the schedule by a client that accepts nothing.
func (s Schedule) periodic(offline *jobs.Client) (p schedule.Periodic, err error) {
	if p.Schedule, err = schedule.Parse(s.At); err != nil {
		return p, err
	}
	args := json.RawMessage("[]")
	if len(s.Args) > 0 {
		if args, err = json.Marshal(s.Args); err != nil {
			return p, fmt.Errorf("encode arguments: %w", err)
		}
	}
	p.Once, p.Task = s.Once, jobs.NewTask{Name: s.Task, Args: args}
	if _, _, err := offline.Enqueue(context.Background(), p.Task); !errors.Is(err, ErrOffline) {
		return p, err
	}
	return p, nil
}
