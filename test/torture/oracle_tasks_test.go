package torture_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// checkTasks checks the single tasks.
func checkTasks(ops []op, end state) (all []violation) {
	some := kinds(ops, kindEnqueue, kindRead, kindCancel, kindRetry)
	some = append(some, onTasks(ops)...)
	byID := map[string][]op{}
	for _, o := range some {
		byID[o.ID] = append(byID[o.ID], o)
	}
	for id, of := range byID {
		all = append(all, checkTask(id, of, end)...)
		o := op{Kind: kindRead, ID: id, Call: end.At, Return: end.At, Status: 404}
		if t := end.Tasks[id]; t != nil {
			o.Status, o.Got, o.Tag = 200, t.State, t.tag()
		}
		some = append(some, o)
	}
	all = append(all, checkList(end)...)
	return append(all, checkOrder(promiseOrder, some, stepTask)...)
}

// onTasks returns the operations of worker programs, and the requests that change many tasks:
// one operation for each task that was enqueued alone. Got says whether all tasks of the
// request were changed, or none.
func onTasks(ops []op) (some []op) {
	alone, waits := map[string]bool{}, map[string]bool{} // tasks; those that may be in the queue that no worker serves
	for _, o := range kinds(ops, kindEnqueue) {
		alone[o.ID] = true
		waits[o.ID] = waits[o.ID] || o.Task.Queue == idle
	}
	for _, o := range kinds(ops, kindFinish, kindCancelAll, kindRetryAll, kindPurge) {
		ids := o.IDs
		switch {
		case o.Kind == kindFinish:
			ids = []string{o.ID}
		case ids == nil:
			ids = slices.Sorted(maps.Keys(waits))
		case o.Status == http.StatusOK && o.N == int64(len(ids)):
			o.Got = gotAll
		case o.Status == http.StatusOK && o.N == 0:
			o.Got = gotNone
		}
		for _, id := range ids {
			if alone[id] && (o.Kind == kindFinish || o.IDs != nil || waits[id]) {
				o.ID = id
				some = append(some, o)
			}
		}
	}
	slices.SortStableFunc(some, func(a, b op) int { return cmp.Compare(a.Call, b.Call) })
	return some
}

// checkList checks that the list of tasks has those that exist, and no others.
func checkList(end state) (all []violation) {
	for id := range end.Tasks {
		if !end.Listed[id] {
			all = append(all, violation{promiseTask, id, "exists and is not in the list of tasks"})
		}
	}
	for id := range end.Listed {
		if end.Tasks[id] == nil {
			all = append(all, violation{promiseTask, id, "is in the list of tasks, and does not exist or was sent by nobody"})
		}
	}
	return all
}

// checkTask checks one task: it has ended, with an outcome that its handler and the operations
// explain, and it did not start after it was cancelled.
func checkTask(id string, ops []op, end state) (all []violation) {
	t := end.Tasks[id]
	broken := func(promise, format string, args ...any) {
		all = append(all, violation{promise, id, fmt.Sprintf(format, args...) + "\n" + list(ops)})
	}
	accepted := slices.IndexFunc(ops, func(o op) bool { return o.Kind == kindEnqueue && !o.lost() && o.Status < 300 })
	if t == nil {
		if accepted >= 0 {
			broken(promiseTask, "was accepted and does not exist")
		}
		if len(end.Runs[id]) > 0 {
			broken(promiseTask, "has run and does not exist")
		}
		return all
	}
	if !final(t.State) {
		broken(promiseTask, "is %s at the end", t.State)
		return all
	}
	if err := checkRuns(t, end.Runs[id]); err != nil {
		broken(promiseTask, "%v", err)
	}
	sent := slices.IndexFunc(ops, func(o op) bool { return o.Kind == kindEnqueue && o.Content == t.tag() })
	if sent < 0 {
		broken(promiseTask, "has the tag %q, which nobody has sent", t.tag())
		return all
	}
	changed := slices.ContainsFunc(ops, func(o op) bool { return isRetry(o) && (o.lost() || o.Status < 300) })
	cancelled := slices.ContainsFunc(ops, func(o op) bool { return isCancel(o) && (o.lost() || o.Status < 300) })
	if err := checkOutcome(t, *ops[sent].Task, end.Runs[id], changed, cancelled); err != nil {
		broken(promiseOutcome, "%v", err)
	}
	for _, o := range ops {
		if o.Kind != kindCancel || o.lost() || o.Status >= 300 {
			continue
		}
		again := func(r op) bool { return isRetry(r) && r.until() > o.Call && (r.lost() || r.Status < 300) }
		if !slices.ContainsFunc(ops, again) && (t.Attempts > int(o.N) || t.State != "cancelled") {
			broken(promiseCancel, "%s with %d attempts, cancelled with %d", t.State, t.Attempts, o.N)
		}
	}
	return all
}

func isRetry(o op) bool { return o.Kind == kindRetry || o.Kind == kindRetryAll }
func isCancel(o op) bool {
	return o.Kind == kindCancel || o.Kind == kindCancelAll || o.Kind == kindPurge
}

// maxLost is the number of lost leases after which a task is dead.
const maxLost = 5

// checkOutcome compares the final state of a task with its handler.
func checkOutcome(t *task, s spec, runs []run, retried, cancelled bool) error {
	failed := 0 // attempts whose handler returned an error, or was about to
	for _, r := range runs {
		if r.Step == runFail {
			failed++
		}
	}
	if s.Crash && t.State != "dead" && t.State != "cancelled" {
		return fmt.Errorf("%s, and each attempt ends the worker's process", t.State)
	}
	switch t.State {
	case "success":
		var result string
		if err := json.Unmarshal(t.Result, &result); err != nil || result != t.tag() {
			return fmt.Errorf("the result is %s, want %q", t.Result, t.tag())
		}
		if failed < s.Fails {
			return fmt.Errorf("success after %d failed attempts, and the handler fails %d times", failed, s.Fails)
		}
	case "failed":
		if failed == 0 || s.Fails <= s.Retries && !retried {
			return fmt.Errorf("failed, and the handler fails %d times with %d retries (%d attempts failed)", s.Fails, s.Retries, failed)
		}
	case "cancelled":
		if !cancelled {
			return fmt.Errorf("cancelled by nobody")
		}
	case "dead":
		if t.Attempts < maxLost {
			return fmt.Errorf("dead after %d attempts", t.Attempts)
		}
	}
	return nil
}

// checkRuns checks what the handlers have recorded: no attempt started twice, or is unknown
// to the store, and a successful task has reached the end of its handler.
func checkRuns(t *task, runs []run) error {
	seen, ended := map[int]bool{}, false
	for _, r := range runs {
		if r.Step == runStart {
			if seen[r.Attempt] {
				return fmt.Errorf("attempt %d started twice", r.Attempt)
			}
			seen[r.Attempt] = true
		}
		if r.Attempt > t.Attempts {
			return fmt.Errorf("attempt %d ran, and the task ended with %d attempts", r.Attempt, t.Attempts)
		}
		ended = ended || r.Step == runEnd
	}
	if t.State == "success" && !ended {
		return fmt.Errorf("success, and no handler has reached its end")
	}
	return nil
}

// checkUnique checks that each unique key has one task: the first one, which all later
// requests got.
func checkUnique(ops []op, end state) (all []violation) {
	some := kinds(ops, kindUnique)
	byKey := map[string][]op{}
	for _, o := range some {
		byKey[o.ID] = append(byKey[o.ID], o)
	}
	for key, of := range byKey {
		owner := op{Kind: kindRead, ID: key, Call: end.At, Return: end.At, Status: http.StatusOK}
		for _, o := range of {
			t := end.Tasks[o.Content]
			switch {
			case t == nil:
				continue
			case owner.Got != "" && owner.Got != t.ID:
				all = append(all, violation{promiseUnique, key, fmt.Sprintf("has the tasks %s and %s", owner.Got, t.ID)})
			}
			owner.Got = t.ID
			if err := checkEnd(t, *o.Task, end.Runs[t.ID], false, false); err != nil {
				all = append(all, violation{promiseTask, t.ID, err.Error()})
			}
		}
		some = append(some, owner)
	}
	return append(all, checkOrder(promiseUnique, some, stepUnique)...)
}

// checkExpiring checks that a key that ends has one task in keyTime, and that it ends.
func checkExpiring(ops []op, end state) (all []violation) {
	byKey := map[string][]op{}
	for _, o := range kinds(ops, kindExpiring) {
		byKey[o.ID] = append(byKey[o.ID], o)
	}
	for key, of := range byKey {
		broken := func(format string, args ...any) {
			all = append(all, violation{promiseExpiring, key, fmt.Sprintf(format, args...)})
		}
		sent, accepted := map[string]bool{}, map[string]op{} // by task; of those that were accepted for sure
		for _, o := range of {
			sent[o.Content] = true
			if o.Status == http.StatusAccepted {
				for id, other := range accepted {
					if apart := max(o.Return-other.Call, other.Return-o.Call); id != o.Content && apart < int64(keyTime-keyRounding) {
						broken("accepted the tasks %s and %s within %v", id, o.Content, time.Duration(apart))
					}
				}
				accepted[o.Content] = o
				if end.Tasks[o.Content] == nil {
					all = append(all, violation{promiseTask, o.Content, "was accepted and does not exist"})
				}
			}
		}
		for _, o := range of {
			if t := end.Tasks[o.Content]; t != nil {
				if err := checkEnd(t, *o.Task, end.Runs[t.ID], false, false); err != nil {
					all = append(all, violation{promiseTask, t.ID, err.Error()})
				}
			}
			if o.Status != http.StatusOK || o.Got == o.Content { // sent again under its id
				continue
			}
			if first, known := accepted[o.Got]; known && o.Call > first.Return+int64(keyTime+keyRounding) {
				broken("still had the task %s after %v", o.Got, time.Duration(o.Call-first.Return))
			}
			if !sent[o.Got] {
				broken("has the task %q, which nobody sent with it", o.Got)
			}
		}
	}
	return all
}

// checkEnd checks that a task has ended, as its handler says.
func checkEnd(t *task, s spec, runs []run, retried, cancelled bool) error {
	if !final(t.State) {
		return fmt.Errorf("is %s at the end", t.State)
	}
	if err := checkRuns(t, runs); err != nil {
		return err
	}
	return checkOutcome(t, s, runs, retried, cancelled)
}
