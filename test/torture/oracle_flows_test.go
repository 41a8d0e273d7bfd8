package torture_test

import (
	"encoding/json"
	"fmt"
	"strings"
)

// checkFlows checks the chains and chords.
func checkFlows(ops []op, end state) (all []violation) {
	aborted := map[string]op{} // first request that may have cancelled the workflow
	for _, o := range kinds(ops, kindAbort) {
		if _, known := aborted[o.ID]; !known && (o.lost() || o.Status < 300) {
			aborted[o.ID] = o
		}
	}
	requests := map[string]op{} // by id of the workflow: the one that created it, or the first one
	for _, o := range kinds(ops, kindChain, kindChord) {
		if first, again := requests[o.ID]; !again || first.lost() && !o.lost() {
			requests[o.ID] = o
		}
	}
	for _, o := range requests {
		abort, isAborted := aborted[o.ID]
		if err := checkFlow(o, end, isAborted); err != nil {
			all = append(all, violation{promiseFlow, o.ID, err.Error()})
			continue
		}
		if end.Flows[o.ID] == nil {
			continue
		}
		promise, checkKind := promiseChain, checkChain
		if o.Kind == kindChord {
			promise, checkKind = promiseChord, checkChord
		}
		if err := checkKind(o, end, isAborted); err != nil {
			all = append(all, violation{promise, o.ID, err.Error()})
		}
		if isAborted && !abort.lost() {
			if err := checkAbort(o, end, abort); err != nil {
				all = append(all, violation{promiseCancel, o.ID, err.Error()})
			}
		}
	}
	return all
}

// checkFlow checks that a workflow exists as a whole or not at all, that all its tasks have
// ended, and that its counts are right.
func checkFlow(o op, end state, aborted bool) error {
	f, exists := end.Flows[o.ID], 0
	first := 1 // number of tasks that were accepted with the workflow
	if o.Kind == kindChord {
		first = len(o.Members) - 1
	}
	succeeded, others := 0, 0
	for i, m := range o.Members {
		t := end.Tasks[m.ID]
		if t == nil {
			if i < first && f != nil {
				return fmt.Errorf("the workflow exists, and its task %s does not", m.ID)
			}
			continue
		}
		exists++
		if !final(t.State) {
			return fmt.Errorf("task %s is %s at the end", t.ID, t.State)
		}
		if t.tag() != m.Tag {
			return fmt.Errorf("task %s has the tag %q, want %q", t.ID, t.tag(), m.Tag)
		}
		if err := checkRuns(t, end.Runs[m.ID]); err != nil {
			return fmt.Errorf("task %s: %w", t.ID, err)
		}
		if t.State == "dead" && t.Attempts < maxLost {
			return fmt.Errorf("task %s is dead after %d attempts", t.ID, t.Attempts)
		}
		if t.State == "cancelled" && !aborted {
			return fmt.Errorf("task %s was cancelled by nobody", t.ID)
		}
		switch {
		case o.Kind == kindChord && i == len(o.Members)-1: // a workflow does not count its callback
		case t.State == "success":
			succeeded++
		default:
			others++
		}
	}
	switch {
	case f == nil && exists > 0:
		return fmt.Errorf("the workflow does not exist, and %d of its tasks do", exists)
	case f == nil && !o.lost() && o.Status < 300:
		return fmt.Errorf("was accepted with %d and does not exist", o.Status)
	case f != nil && !final(f.State):
		return fmt.Errorf("the workflow is %s at the end", f.State)
	case f != nil && (f.Succeeded != succeeded || f.Failed != others):
		return fmt.Errorf("the workflow counts %d and %d tasks, and %d succeeded and %d did not", f.Succeeded, f.Failed, succeeded, others)
	}
	return nil
}

// checkChain checks that each task of a chain got the results of those before, and that none
// ran after one that did not succeed.
func checkChain(o op, end state, aborted bool) error {
	tags, broken := []string{}, ""
	for _, m := range o.Members {
		t := end.Tasks[m.ID]
		if broken != "" {
			if t != nil && t.State != "cancelled" || len(end.Runs[m.ID]) > 0 {
				return fmt.Errorf("task %s has run after %s", m.ID, broken)
			}
			continue
		}
		if t == nil {
			if !aborted {
				return fmt.Errorf("task %s does not exist, and the one before succeeded", m.ID)
			}
			broken = "its chain was cancelled"
			continue
		}
		if tags = append(tags, m.Tag); t.State != "success" {
			broken = t.ID + " ended as " + t.State
			continue
		}
		var result string
		if err := json.Unmarshal(t.Result, &result); err != nil || result != strings.Join(tags, ">") {
			return fmt.Errorf("task %s has the result %s, want %q", t.ID, t.Result, strings.Join(tags, ">"))
		}
	}
	if state := end.Flows[o.ID].State; (state == "success") != (broken == "") {
		return fmt.Errorf("the workflow is %s; %s", state, broken)
	}
	return nil
}

// checkChord checks that the callback got the results of all members in their order, or did
// not run if a member did not succeed.
func checkChord(o op, end state, aborted bool) error {
	last := len(o.Members) - 1
	want, failed := []string{o.Members[last].Tag}, ""
	for _, m := range o.Members[:last] {
		if want = append(want, m.Tag); end.Tasks[m.ID].State != "success" {
			failed = m.ID
		}
	}
	callback := end.Tasks[o.Members[last].ID]
	switch {
	case callback == nil && aborted:
		return nil
	case callback == nil:
		return fmt.Errorf("the callback does not exist")
	case failed != "" && (callback.State == "success" || len(end.Runs[callback.ID]) > 0):
		return fmt.Errorf("the callback has run although %s did not succeed", failed)
	case failed == "" && !aborted && callback.State != "success" && callback.State != "dead":
		return fmt.Errorf("all members succeeded, and the callback is %s", callback.State)
	case callback.State != "success":
		return nil
	}
	text, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if string(callback.Result) != string(text) {
		return fmt.Errorf("the callback has the result %s, want %s", callback.Result, text)
	}
	return nil
}

// checkAbort checks that no task of a workflow started after the response to its cancellation.
func checkAbort(o op, end state, abort op) error {
	for _, m := range o.Members {
		t := end.Tasks[m.ID]
		if t != nil && t.Started != nil && t.Started.UnixNano() > abort.Return {
			return fmt.Errorf("task %s started after the workflow was cancelled", t.ID)
		}
	}
	if f := end.Flows[o.ID]; f.State != "cancelled" {
		return fmt.Errorf("the cancelled workflow is %s", f.State)
	}
	return nil
}
