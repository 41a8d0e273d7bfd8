package torture_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// violation is a broken promise.
type violation struct{ promise, object, text string }

func (v violation) String() string { return v.promise + ": " + v.object + ": " + v.text }

// Promises, as violations name them.
const (
	promiseTask     = "an accepted task ends once"
	promiseOutcome  = "a task has the outcome of its handler"
	promiseCancel   = "a cancelled task does not start"
	promiseOrder    = "operations on a task have an order"
	promiseQueue    = "operations on a queue have an order"
	promisePause    = "a paused queue starts no task"
	promiseFlow     = "a workflow is accepted as a whole"
	promiseChain    = "a chain hands on its results"
	promiseChord    = "a callback runs once, with all results in order"
	promiseFile     = "a file is whole or not there"
	promiseTus      = "an upload never goes back"
	promiseChannel  = "a subscriber gets each message once and in order"
	promiseUnique   = "a unique key has one task"
	promiseExpiring = "a unique key ends in time"
	promiseLease    = "a lease is kept until it is lost"
	promiseStore    = "the task store is whole"
	promiseInternal = "no request has an internal error"
)

// check returns the promises that a server has broken.
func check(ops []op, end state) (all []violation) {
	all = append(all, checkStatus(ops)...)
	ops = resent(ops)
	all = append(all, checkTasks(ops, end)...)
	all = append(all, checkUnique(ops, end)...)
	all = append(all, checkExpiring(ops, end)...)
	all = append(all, checkLeases(ops)...)
	all = append(all, checkQueues(ops, end)...)
	all = append(all, checkFlows(ops, end)...)
	all = append(all, checkFiles(ops, end)...)
	all = append(all, checkTus(ops, end)...)
	all = append(all, checkChannels(ops)...)
	slices.SortStableFunc(all, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.promise, b.promise), cmp.Compare(a.object, b.object))
	})
	return all
}

// Names of the fault that resets connections to Redis.
const (
	resets    = "resets: "
	linkRedis = "redis"
)

// resent returns the operations with those as lost whose response may be that of a second call: a
// server sends a call again when its connection to Redis was reset before the reply, and a task
// that the first call has accepted exists in the second.
func resent(ops []op) []op {
	var during []op
	for _, o := range kinds(ops, kindFault) {
		if o.ID == resets+linkRedis {
			during = append(during, o)
		}
	}
	changed := slices.Clone(ops)
	for i, o := range changed {
		twice := slices.Contains([]string{kindEnqueue, kindUnique, kindExpiring, kindCancel, kindRetry, kindCancelAll, kindRetryAll, kindPurge}, o.Kind) &&
			(o.Status == http.StatusOK || o.Status == http.StatusConflict)
		if twice && slices.ContainsFunc(during, func(f op) bool { return f.Call <= o.Return && o.Call <= f.Return }) {
			changed[i].Status, changed[i].Return, changed[i].Got, changed[i].Tag, changed[i].N = 0, 0, "", "", 0
		}
	}
	return changed
}

// kinds returns the operations of some kinds.
func kinds(ops []op, names ...string) (some []op) {
	for _, o := range ops {
		if slices.Contains(names, o.Kind) {
			some = append(some, o)
		}
	}
	return some
}

// diskFull is the name of the fault that permits 507.
const diskFull = "disk full"

// checkStatus finds responses that no fault excuses. 503 is for faults, and 507 for a full
// disk.
func checkStatus(ops []op) (all []violation) {
	faults := kinds(ops, kindFault)
	for _, o := range ops {
		full := func(f op) bool { return f.ID == diskFull && f.Status != 404 && f.Call < o.Return && o.Call < f.until() }
		if o.Status < 500 || o.Status == 503 || o.Status == 507 && slices.ContainsFunc(faults, full) {
			continue
		}
		all = append(all, violation{promiseInternal, o.ID, o.String()})
	}
	return all
}

// String describes the operation in one line.
func (o op) String() string {
	took := "lost"
	if o.Return != 0 {
		took = time.Duration(o.Return - o.Call).Round(time.Microsecond).String()
	}
	return fmt.Sprintf("%d client %d at %s: %s %s content %q: %d (%s) got %q tag %q n %d",
		o.Seq, o.Client, time.Unix(0, o.Call).Format("15:04:05.000000"), o.Kind, o.ID, o.Content, o.Status, took, o.Got, o.Tag, o.N)
}

// checkQueues checks the flags of the queues, and that no task started while its queue was
// paused. A queue is paused for certain from the response to the pause to the next resume.
func checkQueues(ops []op, end state) []violation {
	some := kinds(ops, kindPause, kindResume, kindQueue)
	all := checkOrder(promiseQueue, some, stepQueue)
	for _, p := range some {
		if p.Kind != kindPause || p.lost() {
			continue
		}
		to := end.At
		for _, r := range some {
			if r.Kind == kindResume && r.ID == p.ID && r.until() >= p.Call {
				to = min(to, r.Call)
			}
		}
		for _, t := range end.Tasks {
			if t.Queue == p.ID && t.Started != nil && p.Return < t.Started.UnixNano() && t.Started.UnixNano() < to {
				all = append(all, violation{promisePause, t.ID, fmt.Sprintf("started at %v in queue %s, paused from %v to %v",
					t.Started, p.ID, time.Unix(0, p.Return), time.Unix(0, to))})
			}
		}
	}
	return all
}

// checkFiles checks each path, with its final content as the last operation.
func checkFiles(ops []op, end state) []violation {
	some := kinds(ops, kindStore, kindDownload, kindRemove)
	paths := map[string]bool{}
	for _, o := range some {
		paths[o.ID] = true
	}
	for path := range paths {
		o := op{Kind: kindDownload, ID: path, Call: end.At, Return: end.At, Status: 404}
		if digest, ok := end.Files[path]; ok {
			o.Status, o.Got = 200, digest
		}
		some = append(some, o)
	}
	return checkOrder(promiseFile, some, stepFile)
}
