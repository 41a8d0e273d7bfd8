package driver

import (
	"fmt"
	"slices"

	"github.com/galeserver/gale/jobs"
)

// Purgeable are the states that Purge accepts: those of waiting tasks, in the order in
// which a task passes them, and StateDead.
var Purgeable = []jobs.State{jobs.StateScheduled, jobs.StateQueued, jobs.StateRetrying, jobs.StateDead}

// CheckPurge returns an error for arguments of Purge that are not allowed. Every Store
// calls it.
func CheckPurge(ids []string, states []jobs.State) error {
	if len(ids) > jobs.MaxPage {
		return fmt.Errorf("%w: %d ids in one purge; at most %d are allowed", jobs.ErrOption, len(ids), jobs.MaxPage)
	}
	for _, state := range states {
		if !slices.Contains(Purgeable, state) {
			return StateError("tasks in the state " + string(state) + " cannot be purged")
		}
	}
	return nil
}
