package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/schedule"
)

// Schedule starts a task of the application periodically, like a schedule of the tasks
// file. A task has at most one schedule.
type Schedule struct {
	// Task is the name of a task in Application.Tasks.
	Task string
	// At is the time in the syntax of the tasks file: the five fields of cron, with an
	// optional CRON_TZ=Europe/Berlin in front, or @every 10m.
	At string
	// Args are the task's positional arguments.
	Args []any
	// Once starts the task once, as soon as a worker runs, if one or more start times
	// passed while no worker was running. By default, missed start times are skipped.
	Once bool
}

// periodic returns the application's schedules in the form that workers use.
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
			faults = append(faults, fmt.Errorf("schedule of %s: the task has two schedules", s.Task))
		case err != nil:
			faults = append(faults, fmt.Errorf("schedule of %s: %w", s.Task, err))
		}
		seen[s.Task] = true
		all = append(all, p)
	}
	return all, errors.Join(faults...)
}

// periodic validates and converts a schedule. The client checks the task's arguments;
// its store returns ErrOffline, so no task is stored.
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
