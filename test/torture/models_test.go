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
	State string // of a task: active, or a final state; of a queue: paused or empty
	Tag   string // tag of the task; digest of the file
}

// active stands for all states of a task that are not final.
const active = "active"

// final reports whether a state of a task is final.
func final(state string) bool {
	return slices.Contains([]string{"success", "failed", "cancelled", "dead"}, state)
}

// stepTask returns the states in which a task may be after an operation. A worker may end the
// task at any moment before the operation.
func stepTask(s register, o op) (next []register) {
	before := []register{s}
	if s.State == active {
		for _, ended := range []string{"success", "failed", "dead"} {
			before = append(before, register{ended, s.Tag})
		}
	}
	for _, b := range before {
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
		return register{active, o.Content}, http.StatusAccepted
	case o.Kind == kindEnqueue:
		return s, http.StatusOK
	case !exists:
		return s, http.StatusNotFound
	case o.Kind == kindCancel && (s.State == active || s.State == "cancelled"):
		return register{"cancelled", s.Tag}, http.StatusOK
	case o.Kind == kindRetry && final(s.State) && s.State != "success":
		return register{active, s.Tag}, http.StatusOK
	case o.Kind == kindRead:
		return s, http.StatusOK
	}
	return s, http.StatusConflict
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
