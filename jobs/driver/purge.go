package driver

import (
	"fmt"
	"slices"

	"github.com/galeserver/gale/jobs"
)

// Purgeable are the states of tasks that wait, in the order in which a task comes
// by them, and of those that wait for a person.
var Purgeable = []jobs.State{jobs.StateScheduled, jobs.StateQueued, jobs.StateRetrying, jobs.StateDead}

// CheckPurge refuses what Purge must not do. Every store asks it.
func CheckPurge(ids []string, states []jobs.State) error {
	if len(ids) > jobs.MaxPage {
		return fmt.Errorf("%w: %d ids are more than %d", jobs.ErrOption, len(ids), jobs.MaxPage)
	}
	for _, state := range states {
		if !slices.Contains(Purgeable, state) {
			return StateError("a task that is " + string(state) + " cannot be purged")
		}
	}
	return nil
}
