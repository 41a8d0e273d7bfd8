package torture_test

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime limits the search for an order of the operations on one object.
const checkTime = 20 * time.Second

// register is the state of one object: of a task, a queue, or a file. Its zero value is an
// object that does not exist.
type register struct {
	State  string // of a task: active, or a final state; of a queue: paused or empty
	Tag    string // tag of the task; digest of the file; id of the task of a unique key
	Remote bool   // whether a worker program runs the task: its operations end it
	Idle   bool   // whether no worker runs the task
}

// active stands for all states of a task that are not final.
const active = "active"

// idle is a queue that no worker serves.
const idle = "idle"

// final reports whether a state of a task is final.
func final(state string) bool {
	return slices.Contains([]string{"success", "failed", "cancelled", "dead"}, state)
}

// in returns the register in another state.
func (s register) in(state string) register {
	s.State = state
	return s
}

// stepTask returns the states in which a task may be after an operation. A worker may end the
// task at any moment before the operation.
func stepTask(s register, o op) (next []register) {
	before := []register{s}
	if s.State == active && !s.Idle {
		before = append(before, s.in("dead"))
		if !s.Remote {
			before = append(before, s.in("success"), s.in("failed"))
		}
	}
	for _, b := range before {
		switch o.Kind {
		case kindCancelAll, kindRetryAll, kindPurge:
			next = append(next, stepMany(b, o)...)
			continue
		case kindFinish:
			next = append(next, stepFinish(b, o)...)
			continue
		}
		after, want := applyTask(b, o)
		if o.lost() {
			next = append(next, b, after)
		} else if want == o.Status && agrees(after, o) {
			next = append(next, after)
		}
	}
	return next
}

// applyTask returns the state after an operation, and the status of its response.
func applyTask(s register, o op) (after register, status int) {
	exists := s.State != ""
	switch {
	case o.Kind == kindEnqueue && !exists:
		return register{State: active, Tag: o.Content, Remote: o.Task.Remote, Idle: o.Task.Queue == idle}, http.StatusAccepted
	case o.Kind == kindEnqueue:
		return s, http.StatusOK
	case !exists:
		return s, http.StatusNotFound
	case o.Kind == kindCancel && (s.State == active || s.State == "cancelled"):
		return s.in("cancelled"), http.StatusOK
	case o.Kind == kindRetry && final(s.State) && s.State != "success":
		return s.in(active), http.StatusOK
	case o.Kind == kindRead:
		return s, http.StatusOK
	}
	return s, http.StatusConflict
}

// Contents of requests that change many tasks, in op.Got.
const (
	gotAll  = "all"  // all tasks were changed
	gotNone = "none" // no task was changed
)

// stepMany returns the states in which a task may be after a request that changes many tasks,
// of which it is one. The response has the number of tasks that were changed.
func stepMany(s register, o op) (next []register) {
	changed, may, must := s.in("cancelled"), false, false // whether the request may or must change the task
	switch o.Kind {
	case kindCancelAll:
		must = s.State == active
		may = must || s.State == "cancelled" // by another request meanwhile
	case kindRetryAll:
		must = final(s.State) && s.State != "success"
		may, changed = must, s.in(active)
	case kindPurge:
		may = (s.State == active || s.State == "dead") && (s.Idle || o.IDs != nil) // without ids it purges a queue
		must = may && (s.State == "dead" || s.Idle)                                // another one may be running
	}
	switch {
	case o.lost() && may:
		return []register{s, changed}
	case o.lost():
		return []register{s}
	case o.Status != http.StatusOK:
		return nil
	}
	if may && o.Got != gotNone {
		next = append(next, changed)
	}
	if !must && o.Got != gotAll {
		next = append(next, s)
	}
	return next
}

// stepFinish returns the states in which a task may be after a worker program has ended an
// attempt at it.
func stepFinish(s register, o op) (next []register) {
	ends := map[string][]string{ // states after an attempt that ended in a state
		"success": {"success"}, "failed": {"failed"}, "retry": {active, "failed"}, "lost": {active, "dead"},
	}[o.Content]
	switch {
	case o.lost() && s.State == active:
		next = append(next, s)
		fallthrough
	case s.State == active && o.Status == http.StatusOK:
		for _, state := range ends {
			if o.lost() || state == o.Got || state == active && !final(o.Got) {
				next = append(next, s.in(state))
			}
		}
		if !o.Repeat {
			return next
		}
	}
	if o.lost() || o.Repeat || o.Status == http.StatusConflict {
		next = append(next, s)
	}
	return next
}

// stepUnique returns the tasks that may have a unique key after an operation.
func stepUnique(s register, o op) []register {
	if o.Kind == kindRead { // at the end
		if o.Got == s.Tag {
			return []register{s}
		}
		return nil
	}
	after, status := s, http.StatusOK
	if s.Tag == "" {
		after.Tag, status = o.Content, http.StatusAccepted
	}
	switch {
	case o.lost():
		return []register{s, after}
	case o.Status == status && o.Got == after.Tag:
		return []register{after}
	}
	return nil
}

// agrees reports whether the task in a response is the task in its state.
func agrees(s register, o op) bool {
	if o.Status != http.StatusOK && o.Status != http.StatusAccepted {
		return true
	}
	got := o.Got
	if !final(got) {
		got = active
	}
	return got == s.State && o.Tag == s.Tag
}

// stepQueue returns the states in which a queue may be after an operation. The response to a
// change has the queue as it was read after the change, so it does not count.
func stepQueue(s register, o op) []register {
	after := s
	switch o.Kind {
	case kindPause:
		after.State = paused
	case kindResume:
		after.State = ""
	}
	switch {
	case o.lost():
		return []register{s, after}
	case o.Status == http.StatusOK && (o.Kind != kindQueue || o.Got == s.State):
		return []register{after}
	}
	return nil
}

// stepFile returns the states in which a file may be after an operation.
func stepFile(s register, o op) []register {
	after, status := s, http.StatusOK
	switch {
	case o.Kind == kindStore && s.Tag == "":
		after.Tag = o.Content
	case o.Kind == kindStore:
		status = http.StatusConflict
	case o.Kind == kindRemove:
		after.Tag = ""
	case s.Tag == "":
		status = http.StatusNotFound
	}
	switch {
	case o.lost():
		return []register{s, after}
	case o.Status == status && (o.Kind != kindDownload || status != http.StatusOK || o.Got == s.Tag):
		return []register{after}
	}
	return nil
}

// checkOrder checks the operations on each object: there must be an order of them that
// explains all responses, in which each one takes place between its request and its response
// (linearizability).
func checkOrder(promise string, ops []op, step func(register, op) []register) (all []violation) {
	model := (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{register{}} },
		Step: func(s, in, _ any) (next []any) {
			for _, n := range step(s.(register), in.(op)) {
				next = append(next, n)
			}
			return next
		},
	}).ToModel()
	byID := map[string][]op{}
	for _, o := range ops {
		byID[o.ID] = append(byID[o.ID], o)
	}
	for id, some := range byID {
		history := make([]porcupine.Operation, len(some))
		for i, o := range some {
			history[i] = porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Call, Return: o.until()}
		}
		switch porcupine.CheckOperationsTimeout(model, history, checkTime) {
		case porcupine.Ok:
		case porcupine.Unknown:
			all = append(all, violation{promise + ": not decided", id, "the search took longer than " + checkTime.String()})
		default:
			all = append(all, violation{promise, id, "no order of these operations explains the responses:\n" + list(some)})
		}
	}
	return all
}

// maxListed is the number of operations that a violation lists.
const maxListed = 200

// list returns the last operations as lines of text.
func list(ops []op) string {
	var b strings.Builder
	for _, o := range ops[max(0, len(ops)-maxListed):] {
		b.WriteString("\t" + o.String() + "\n")
	}
	return b.String()
}
