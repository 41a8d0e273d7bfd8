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

// errDeclined is returned if the user does not confirm a purge.
var errDeclined = errors.New("nothing was purged")

// purge cancels all tasks in the states of -state and prints their number. Without -yes
// it asks for confirmation, which needs a terminal.
func (r *tasksRun) purge(ctx context.Context) error {
	states := r.opt.Query.States
	if len(states) == 0 {
		states = []jobs.State{jobs.StateScheduled, jobs.StateQueued, jobs.StateRetrying}
	}
	for _, state := range states {
		if !slices.Contains(driver.Purgeable, state) {
			return usageError(fmt.Sprintf("%s tasks purge: -state: %q: must be scheduled, queued, retrying or dead", r.app.command(), state))
		}
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if !r.opt.Yes {
		if !terminal(r.in) || !terminal(r.errOut) {
			return usageError(r.app.command() + " tasks purge: no terminal for the confirmation: give -yes")
		}
		if err := r.confirmPurge(ctx, states); err != nil {
			return err
		}
	}
	n := 0
	err := r.eachPage(ctx, states, func(ids []string) error {
		done, err := r.store.Purge(ctx, ids, states)
		n += done
		return err
	})
	if ctx.Err() != nil {
		return exitError{fmt.Sprintf("interrupted after %d tasks were purged", n), exitInterrupted}
	}
	if err != nil {
		return fmt.Errorf("purge failed after %d tasks: %w", n, err)
	}
	if r.opt.JSON {
		return json.NewEncoder(r.out).Encode(map[string]int{"purged": n})
	}
	_, err = fmt.Fprintf(r.out, "tasks purged: %d\n", n)
	return err
}

// confirmPurge prints the number of tasks and asks the user. It returns nil for yes.
func (r *tasksRun) confirmPurge(ctx context.Context, states []jobs.State) error {
	n := 0
	if err := r.eachPage(ctx, states, func(ids []string) error { n += len(ids); return nil }); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.errOut, "cancel %d tasks? [y/N] ", n)
	input := make(chan string, 1)
	go func() { // ends when a line was read, or with the process
		line, _ := bufio.NewReader(r.in).ReadString('\n')
		input <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return exitError{errDeclined.Error(), exitInterrupted}
	case line := <-input:
		if line != "y" && line != "yes" {
			return errDeclined
		}
	}
	return nil
}

// eachPage calls do with the ids of the tasks in the given states, a page at a time. It
// visits the states in the order in which tasks pass through them, so that a task whose
// state changes meanwhile is not missed.
func (r *tasksRun) eachPage(ctx context.Context, states []jobs.State, do func(ids []string) error) error {
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
