package app

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/galeserver/gale/jobs/schedule"
)

// nextRuns is how many moments of each schedule are shown.
const nextRuns = 3

// scheduleLine is a schedule in the answer of server tasks schedules -json.
type scheduleLine struct {
	Task     string      `json:"task"`
	Schedule string      `json:"schedule"`
	Missed   string      `json:"missed"`
	Next     []time.Time `json:"next"`
}

// schedules lists the schedules of -tasks and when they come next.
func (r *tasksRun) schedules(context.Context) error {
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if !r.opt.JSON {
		_, _ = fmt.Fprintln(w, "TASK\tSCHEDULE\tMISSED\tNEXT\tTHEN\tTHEN")
	}
	for _, spec := range r.opt.Commands {
		if spec.Schedule == "" {
			continue
		}
		s, err := schedule.Parse(spec.Schedule)
		if err != nil {
			return fmt.Errorf("schedule of %s: %w", spec.Name, err)
		}
		line := scheduleLine{Task: spec.Name, Schedule: s.String(), Missed: spec.Missed, Next: []time.Time{}}
		for at := s.Next(time.Now()); len(line.Next) < nextRuns && !at.IsZero(); at = s.Next(at) {
			line.Next = append(line.Next, at)
		}
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
