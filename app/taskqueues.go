package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/galeserver/gale/jobs"
)

// takeQueue takes no arguments, or pause or resume followed by the name of a queue.
func takeQueue(args []string) (words, flags []string, err error) {
	words, flags = splitAtFlag(args)
	if len(words) == 0 {
		return nil, flags, nil
	}
	if len(words) != 2 || words[0] != "pause" && words[0] != "resume" || !jobs.ValidID(words[1]) {
		return nil, nil, errors.New("invalid arguments: give none, pause NAME or resume NAME")
	}
	return words, flags, nil
}

// queues pauses or resumes a queue if the arguments say so, and lists all queues.
func (r *tasksRun) queues(ctx context.Context) error {
	if len(r.words) > 0 {
		change := r.store.Pause
		if r.words[0] == "resume" {
			change = r.store.Resume
		}
		if err := change(ctx, r.words[1]); err != nil {
			return err
		}
	}
	all, err := r.store.Depth(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(r.out, 0, 4, 2, ' ', 0)
	if !r.opt.JSON {
		_, _ = fmt.Fprintln(w, "QUEUE\tWAITING\tSCHEDULED\tRUNNING\tDEAD\tOLDEST\tPAUSED")
	}
	for _, d := range all {
		if r.opt.JSON {
			if err := json.NewEncoder(r.out).Encode(d); err != nil {
				return err
			}
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", d.Queue, d.Waiting, d.Scheduled, d.Running, d.Dead,
			d.Oldest.Round(time.Millisecond), map[bool]string{true: "yes", false: "no"}[d.Paused])
	}
	return w.Flush()
}
