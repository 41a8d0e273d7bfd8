package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// errDeclined is the end of a purge that was asked about.
var errDeclined = errors.New("nothing was purged")

// purge cancels what waits, a page at a time, and prints how many that were. It
// asks first, on a terminal.
func (r *tasksRun) purge(ctx context.Context) error {
	states := r.opt.Query.States
	if len(states) == 0 {
		states = []jobs.State{jobs.StateScheduled, jobs.StateQueued, jobs.StateRetrying}
	}
	for _, state := range states {
		if !slices.Contains(driver.Purgeable, state) {
			return usageError(fmt.Sprintf("%s tasks purge: -state: %q: only scheduled, queued, retrying and dead tasks are purged", r.app.command(), state))
		}
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if !r.opt.Yes {
		if !terminal(r.in) || !terminal(r.errOut) {
			return usageError(r.app.command() + " tasks purge: give -yes where nobody can be asked")
		}
		if err := r.askToPurge(ctx, states); err != nil {
			return err
		}
	}
	n := 0
	err := r.waiting(ctx, states, func(ids []string) error {
		done, err := r.store.Purge(ctx, ids, states)
		n += done
		return err
	})
	if ctx.Err() != nil {
		return endError{fmt.Sprintf("interrupted; %d tasks were purged", n), exitInterrupted}
	}
	if err != nil {
		return fmt.Errorf("%d tasks were purged, then: %w", n, err)
	}
	if r.opt.JSON {
		return json.NewEncoder(r.out).Encode(map[string]int{"purged": n})
	}
	_, err = fmt.Fprintf(r.out, "tasks purged: %d\n", n)
	return err
}

// askToPurge counts what would be purged, and returns nil for a yes.
func (r *tasksRun) askToPurge(ctx context.Context, states []jobs.State) error {
	n := 0
	if err := r.waiting(ctx, states, func(ids []string) error { n += len(ids); return nil }); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.errOut, "purge %d tasks, which ends them as cancelled? [y/N] ", n)
	said := make(chan string, 1)
	go func() { // ends with a line, or with the process
		line, _ := bufio.NewReader(r.in).ReadString('\n')
		said <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return endError{errDeclined.Error(), exitInterrupted}
	case line := <-said:
		if line != "y" && line != "yes" {
			return errDeclined
		}
	}
	return nil
}

// waiting gives do the ids of the tasks in the states, a page at a time: first
// those that others follow, so that none that comes to another state meanwhile is
// missed.
func (r *tasksRun) waiting(ctx context.Context, states []jobs.State, do func(ids []string) error) error {
	for _, state := range driver.Purgeable {
		if !slices.Contains(states, state) {
			continue
		}
		q := jobs.Query{State: state, Name: r.opt.Query.Task, Queue: r.opt.Query.Queue, Limit: jobs.MaxPage}
		for {
			p, err := r.store.List(ctx, q)
			if err != nil {
				return err
			}
			ids := make([]string, len(p.Tasks))
			for i, t := range p.Tasks {
				ids[i] = t.ID
			}
			if err := do(ids); err != nil {
				return err
			}
			if q.Before = p.Next; p.Next == 0 {
				break
			}
		}
	}
	return nil
}
