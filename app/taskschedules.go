package app

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"
)

// nextRuns is the number of upcoming start times to print for each schedule.
const nextRuns = 3

// scheduleLine is a line of "tasks schedules -json".
type scheduleLine struct {
	Task     string      `json:"task"`
	Schedule string      `json:"schedule"`
	Missed   string      `json:"missed"`
	Next     []time.Time `json:"next"`
}

// schedules lists the schedules of the application and of the tasks file, with their
// next start times.
func (r *tasksRun) schedules(context.Context) error {
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if !r.opt.JSON {
		_, _ = fmt.Fprintln(w, "TASK\tSCHEDULE\tMISSED\tNEXT\tTHEN\tTHEN")
	}
	all, err := schedules(r.app, r.opt.Config)
	if err != nil {
		return err
	}
	for _, p := range all {
		line := scheduleLine{Task: p.Task.Name, Schedule: p.Schedule.String(), Missed: p.Missed(), Next: p.Schedule.Upcoming(time.Now(), nextRuns)}
		if r.opt.JSON {
			if err := json.NewEncoder(r.out).Encode(line); err != nil {
				return err
			}
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s", line.Task, line.Schedule, line.Missed)
		for _, at := range line.Next {
			_, _ = fmt.Fprintf(w, "\t%s", at.Format(time.RFC3339))
		}
		_, _ = fmt.Fprintln(w)
	}
	return w.Flush()
}
