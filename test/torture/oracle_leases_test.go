package torture_test

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// leaseTTL is how long a lease lasts after it was extended.
const leaseTTL = 30 * time.Second

// checkLeases checks the leases of worker programs. Each one is given to one worker. It is
// valid until the worker ends the attempt, as long as the worker extends it in time, and not
// after the task was leased again.
func checkLeases(ops []op) (all []violation) {
	type attempt struct {
		id string
		n  int64
	}
	given := map[attempt]op{}    // by attempt
	newest := map[string][]op{}  // leases by task, in the order in which they were given
	byLease := map[string][]op{} // operations by lease
	changed := map[string]bool{} // tasks that somebody else may have ended
	alone := map[string]bool{}   // tasks without a workflow
	for _, o := range ops {
		switch {
		case o.Kind == kindEnqueue:
			alone[o.ID] = true
		case isCancel(o) || isRetry(o):
			for _, id := range append([]string{o.ID}, o.IDs...) {
				changed[id] = true
			}
		case o.Lease != "":
			byLease[o.Lease] = append(byLease[o.Lease], o)
		}
		if o.Kind != kindLease {
			continue
		}
		if first, again := given[attempt{o.ID, o.N}]; again {
			all = append(all, violation{promiseLease, o.ID, fmt.Sprintf("attempt %d was leased twice:\n%s", o.N, list([]op{first, o}))})
		}
		given[attempt{o.ID, o.N}] = o
		newest[o.ID] = append(newest[o.ID], o)
	}
	for _, of := range byLease {
		id := of[0].ID
		if err := checkLease(of, newest[id], alone[id] && !changed[id]); err != nil {
			all = append(all, violation{promiseLease, id, err.Error() + "\n" + list(of)})
		}
	}
	return all
}

// checkLease checks the operations with one lease. leases are all of its task. untouched says
// that only workers have ended attempts at the task.
func checkLease(of, leases []op, untouched bool) error {
	since, lost := int64(0), int64(1<<63-1) // last time of which it is certain that the lease was valid; time at which the worker learned that it is not
	ended := ""
	for _, o := range of {
		since = max(since, o.Since)
		if o.Kind == kindLost {
			lost = min(lost, o.Return)
		}
		if o.Kind != kindFinish || o.lost() {
			continue
		}
		if o.Status == http.StatusConflict {
			if o.Held && !o.Repeat && untouched && o.Return < since+int64(leaseTTL) {
				return fmt.Errorf("the lease was extended in time, and is refused")
			}
			continue
		}
		if o.Status != http.StatusOK {
			return fmt.Errorf("the end of the attempt is refused with %d", o.Status)
		}
		switch {
		case ended != "" && ended != o.Got:
			return fmt.Errorf("the attempt ended as %s and %s", ended, o.Got)
		case o.Repeat:
		case lost < o.Call:
			return fmt.Errorf("the worker learned that the lease is lost, and could end the attempt")
		case slices.ContainsFunc(leases, func(l op) bool { return l.N > o.N && l.Return < o.Call }):
			return fmt.Errorf("the attempt was ended by its lease after another one had begun")
		}
		ended = o.Got
	}
	return nil
}
