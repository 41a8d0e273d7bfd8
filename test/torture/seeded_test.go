package torture_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// story is a history and the final state after it.
type story struct {
	ops []op
	end state
}

// second is the unit of the times in a story.
const second = int64(time.Second)

// add appends an operation that takes half a second. Operations begin a second apart.
func (s *story) add(o op) *op {
	o.Seq = len(s.ops)
	o.Call = int64(1+o.Seq) * second
	if o.Status != 0 {
		o.Return = o.Call + second/2
	}
	s.ops = append(s.ops, o)
	return &s.ops[o.Seq]
}

// task adds a task to the final state, with one run for each attempt.
func (s *story) task(id, tag, state string, attempts int, result any) *task {
	first, _ := json.Marshal(tag)    // a string
	value, _ := json.Marshal(result) // strings
	at := time.Unix(0, second/4)
	t := &task{ID: id, State: state, Queue: "a", Args: []json.RawMessage{first}, Result: value, Attempts: attempts, Started: &at}
	s.end.Tasks[id], s.end.Listed[id] = t, true
	for n := range attempts {
		s.end.Runs[id] = append(s.end.Runs[id], run{Attempt: n + 1, Step: runStart}, run{Attempt: n + 1, Step: runEnd})
	}
	return t
}

// right is a history that breaks no promise, with each kind of operation.
func right() *story {
	s := &story{end: state{Tasks: map[string]*task{}, Listed: map[string]bool{}, Flows: map[string]*flow{}, Files: map[string]string{}, Runs: map[string][]run{}, At: 1000 * second}}
	plain := &spec{Queue: "a"}

	s.add(op{Kind: kindEnqueue, ID: "one", Content: "x", Status: 202, Got: "queued", Tag: "x", Task: plain})
	s.add(op{Kind: kindRead, ID: "one", Status: 200, Got: "running", Tag: "x"})
	s.add(op{Kind: kindRead, ID: "one", Status: 200, Got: "success", Tag: "x"})
	s.add(op{Kind: kindCancel, ID: "one", Status: 409})
	s.add(op{Kind: kindEnqueue, ID: "one", Content: "other", Status: 200, Got: "success", Tag: "x", Task: plain})
	s.task("one", "x", "success", 1, "x")

	s.add(op{Kind: kindEnqueue, ID: "lost", Content: "y", Task: plain})
	s.add(op{Kind: kindEnqueue, ID: "never", Content: "z", Status: 503, Task: plain})
	s.task("lost", "y", "success", 1, "y")

	s.add(op{Kind: kindEnqueue, ID: "fails", Content: "f", Status: 202, Got: "queued", Tag: "f", Task: &spec{Queue: "a", Fails: 1, Retries: 2}})
	s.task("fails", "f", "success", 2, "f")
	s.end.Runs["fails"][1].Step = runFail

	s.add(op{Kind: kindEnqueue, ID: "cancelled", Content: "c", Status: 202, Got: "queued", Tag: "c", Task: plain})
	s.add(op{Kind: kindCancel, ID: "cancelled", Status: 200, Got: "cancelled", Tag: "c"})
	s.task("cancelled", "c", "cancelled", 0, nil).Started = nil

	s.add(op{Kind: kindPause, ID: "a", Status: 200, Got: paused})
	s.add(op{Kind: kindQueue, ID: "a", Status: 200, Got: paused})
	s.add(op{Kind: kindQueue, ID: "a"})
	s.add(op{Kind: kindResume, ID: "a", Status: 200})

	chain := []member{{ID: "ch", Tag: "1"}, {ID: "ch-2", Tag: "2"}}
	s.add(op{Kind: kindChain, ID: "ch", Status: 202, Members: chain})
	s.task("ch", "1", "success", 1, "1")
	s.task("ch-2", "2", "success", 1, "1>2")
	s.end.Flows["ch"] = &flow{State: "success", Succeeded: 2}

	s.add(op{Kind: kindChord, ID: "cd", Members: []member{{ID: "cd-1", Tag: "1"}, {ID: "cd-2", Tag: "2"}, {ID: "cd-all", Tag: "all"}}})
	s.task("cd-1", "1", "success", 1, "1")
	s.task("cd-2", "2", "success", 1, "2")
	s.task("cd-all", "all", "success", 1, []string{"all", "1", "2"})
	s.end.Flows["cd"] = &flow{State: "success", Succeeded: 2}

	s.add(op{Kind: kindChain, ID: "night", Status: 202, Members: []member{{ID: "night", Tag: "n"}}})
	s.add(op{Kind: kindAbort, ID: "night", Status: 200})
	s.task("night", "n", "cancelled", 0, nil).Started = nil
	s.end.Flows["night"] = &flow{State: "cancelled", Failed: 1}

	s.add(op{Kind: kindStore, ID: "d/f", Content: "bytes", Status: 200})
	s.add(op{Kind: kindStore, ID: "d/f", Content: "others", Status: 409})
	s.add(op{Kind: kindDownload, ID: "d/f", Status: 200, Got: "bytes"})
	s.add(op{Kind: kindRemove, ID: "d/f"})
	s.add(op{Kind: kindDownload, ID: "d/f", Status: 404})

	s.add(op{Kind: kindTusCreate, ID: "tus/u", Content: "whole", N: 10, Status: 201})
	s.add(op{Kind: kindTusPatch, ID: "tus/u", Sent: 6})
	s.add(op{Kind: kindTusOffset, ID: "tus/u", Status: 200, N: 4})
	s.add(op{Kind: kindTusPatch, ID: "tus/u", Sent: 10, Status: 204, N: 10})
	s.end.Files["tus/u"] = "whole"

	s.add(op{Kind: kindEvent, Client: 1, ID: "news", Got: gotSubscribed, N: 5, Status: 200})
	s.add(op{Kind: kindPublish, ID: "news", Content: "m6", Status: 200, N: 6})
	s.add(op{Kind: kindPublish, ID: "news", Content: "m7"})
	s.add(op{Kind: kindPublish, ID: "news", Content: "m8", Status: 200, N: 8})
	s.add(op{Kind: kindPublish, ID: "news", Content: "m21", Status: 200, N: 21})
	s.add(op{Kind: kindUnique, ID: "key", Content: "u1", Status: 202, Got: "u1", Task: plain})
	s.add(op{Kind: kindUnique, ID: "key", Content: "u2", Status: 200, Got: "u1", Task: plain})
	s.add(op{Kind: kindUnique, ID: "key", Content: "u3", Task: plain})
	s.task("u1", "u", "success", 1, "u")
	s.add(op{Kind: kindExpiring, ID: "short", Content: "e1", Status: 202, Got: "e1", Task: plain})
	s.add(op{Kind: kindExpiring, ID: "short", Content: "e2", Status: 200, Got: "e1", Task: plain})
	s.add(op{Kind: kindExpiring, ID: "short", Content: "e1", Status: 200, Got: "e1", Task: plain})
	s.add(op{Kind: kindExpiring, ID: "short", Content: "e4", Status: 202, Got: "e4", Task: plain})
	s.add(op{Kind: kindExpiring, ID: "short", Content: "e5", Task: plain})
	s.task("e1", "e", "success", 1, "e")
	s.task("e4", "e", "success", 1, "e")

	waits := &spec{Queue: idle}
	s.add(op{Kind: kindEnqueue, ID: "idle", Content: "i", Status: 202, Got: "queued", Tag: "i", Task: waits})
	s.add(op{Kind: kindPurge, Status: 200, N: 7})
	s.add(op{Kind: kindRead, ID: "idle", Status: 200, Got: "cancelled", Tag: "i"})
	s.task("idle", "i", "cancelled", 0, nil).Started = nil
	s.add(op{Kind: kindEnqueue, ID: "many", Content: "m", Status: 202, Got: "queued", Tag: "m", Task: waits})
	s.add(op{Kind: kindCancelAll, IDs: []string{"many", "idle"}, Status: 200, N: 1})
	s.add(op{Kind: kindRetryAll, IDs: []string{"many"}, Status: 200, N: 1})
	s.add(op{Kind: kindRead, ID: "many", Status: 200, Got: "queued", Tag: "m"})
	s.add(op{Kind: kindPurge, IDs: []string{"many", "one"}})
	s.add(op{Kind: kindRetryAll, IDs: []string{"one", "nobody"}, Status: 200})
	s.task("many", "m", "cancelled", 0, nil).Started = nil

	s.add(op{Kind: kindEnqueue, ID: "remote", Content: "r", Status: 202, Got: "queued", Tag: "r", Task: &spec{Queue: "a", Remote: true}})
	lease := s.add(op{Kind: kindLease, ID: "remote", Lease: "L1", N: 1, Status: 200})
	lease.Since = lease.Call
	s.add(op{Kind: kindLost, ID: "remote", Lease: "L1", Status: 200})
	lease = s.add(op{Kind: kindLease, ID: "remote", Lease: "L2", N: 2, Status: 200})
	lease.Since = lease.Call
	s.add(op{Kind: kindFinish, ID: "remote", Lease: "L1", N: 1, Content: "success", Status: 409})
	s.add(op{Kind: kindFinish, ID: "remote", Lease: "L2", N: 2, Content: "success", Held: true})
	s.add(op{Kind: kindFinish, ID: "remote", Lease: "L2", N: 2, Content: "success", Held: true, Repeat: true, Status: 200, Got: "success"})
	s.task("remote", "r", "success", 2, "r")

	s.add(op{Kind: kindFault, ID: diskFull, Status: 200}).Return += 2 * second
	s.add(op{Kind: kindStore, ID: "d/full", Content: "bytes", Status: 507})

	for _, e := range []op{{N: 6, Got: "m6"}, {N: 6, Got: gotSubscribed}, {N: 7, Got: "m7"}, {N: 8, Got: "m8"}, {N: 20, Got: gotGap}, {N: 21, Got: "m21"}} {
		e.Kind, e.Client, e.ID, e.Status = kindEvent, 1, "news", 200
		s.add(e)
	}
	return s
}

// find returns the operation of a kind on an object, the last one if there are several.
func (s *story) find(kind, id string) (found *op) {
	for i := range s.ops {
		if s.ops[i].Kind == kind && s.ops[i].ID == id {
			found = &s.ops[i]
		}
	}
	return found
}

// content returns the operation that sent a content.
func (s *story) content(text string) *op {
	return s.where(func(o op) bool { return o.Content == text })
}

// many returns the last request of a kind that changes many tasks.
func (s *story) many(kind string) *op {
	return s.where(func(o op) bool { return o.Kind == kind && o.IDs != nil })
}

// lease returns the last operation of a kind with a lease.
func (s *story) lease(kind, lease string) *op {
	return s.where(func(o op) bool { return o.Kind == kind && o.Lease == lease })
}

// where returns the last operation with a property.
func (s *story) where(has func(op) bool) (found *op) {
	for i := range s.ops {
		if has(s.ops[i]) {
			found = &s.ops[i]
		}
	}
	return found
}

// event returns the event with a content.
func (s *story) event(got string) *op {
	for i := range s.ops {
		if s.ops[i].Kind == kindEvent && s.ops[i].Got == got {
			return &s.ops[i]
		}
	}
	return nil
}

func TestOracleAcceptsRightHistory(t *testing.T) {
	s := right()
	for _, v := range check(s.ops, s.end) {
		t.Error(v)
	}
}

// A history with one change that breaks a promise is found, with the promise and the object.
func TestOracleFindsViolations(t *testing.T) {
	for _, row := range []struct {
		name, promise, object string
		change                func(s *story)
	}{
		{"lost task", promiseTask, "one", func(s *story) { delete(s.end.Tasks, "one"); delete(s.end.Runs, "one") }},
		{"task of nobody", promiseTask, "nobody", func(s *story) { s.end.Listed["nobody"] = true }},
		{"task that the list forgets", promiseTask, "one", func(s *story) { delete(s.end.Listed, "one") }},
		{"task that never ends", promiseTask, "one", func(s *story) { s.end.Tasks["one"].State = "running" }},
		{"task with the content of nobody", promiseTask, "one", func(s *story) { s.end.Tasks["one"].Args[0] = json.RawMessage(`"w"`) }},
		{"half of a lost request", promiseTask, "lost", func(s *story) { delete(s.end.Tasks, "lost") }},
		{"attempt started twice", promiseTask, "one", func(s *story) { s.end.Runs["one"] = append(s.end.Runs["one"], s.end.Runs["one"]...) }},
		{"attempt after the end", promiseTask, "one", func(s *story) {
			s.end.Runs["one"] = append(s.end.Runs["one"], run{Attempt: 2, Step: runStart})
		}},
		{"success without a run", promiseTask, "one", func(s *story) { delete(s.end.Runs, "one") }},
		{"double outcome", promiseOrder, "one", func(s *story) { s.end.Tasks["one"].State = "dead"; s.end.Tasks["one"].Attempts = 9 }},
		{"two contents of one id", promiseOrder, "one", func(s *story) { s.ops[4].Tag = "other" }},
		{"202 then 404", promiseOrder, "one", func(s *story) { s.ops[1].Status, s.ops[1].Got, s.ops[1].Tag = 404, "", "" }},
		{"accepted twice", promiseOrder, "one", func(s *story) { s.ops[4].Status, s.ops[4].Tag, s.ops[4].Got = 202, "other", "queued" }},
		{"state goes back", promiseOrder, "one", func(s *story) { s.ops[1].Got, s.ops[2].Got = "success", "running" }},
		{"wrong result", promiseOutcome, "one", func(s *story) { s.end.Tasks["one"].Result = json.RawMessage(`"y"`) }},
		{"failed without a failure", promiseOutcome, "lost", func(s *story) { s.end.Tasks["lost"].State = "failed" }},
		{"success before its failures", promiseOutcome, "fails", func(s *story) { s.end.Runs["fails"][1].Step = runEnd }},
		{"dead after one attempt", promiseOutcome, "lost", func(s *story) { s.end.Tasks["lost"].State = "dead" }},
		{"success of a task that crashes", promiseOutcome, "lost", func(s *story) { s.find(kindEnqueue, "lost").Task = &spec{Crash: true} }},
		{"cancelled by nobody", promiseOutcome, "lost", func(s *story) { s.end.Tasks["lost"].State = "cancelled" }},
		{"start after cancel", promiseCancel, "cancelled", func(s *story) {
			s.end.Tasks["cancelled"].Attempts = 1
			s.end.Runs["cancelled"] = []run{{Attempt: 1, Step: runStart}}
		}},
		{"cancel undone", promiseCancel, "cancelled", func(s *story) { s.task("cancelled", "c", "success", 1, "c") }},
		{"paused queue starts a task", promisePause, "one", func(s *story) {
			at := time.Unix(0, s.find(kindQueue, "a").Call)
			s.end.Tasks["one"].Started = &at
		}},
		{"pause forgotten", promiseQueue, "a", func(s *story) {
			last := s.find(kindQueue, "a")
			last.Status, last.Return = 200, last.Call+second/2
		}},
		{"half a workflow", promiseFlow, "cd", func(s *story) { delete(s.end.Tasks, "cd-2") }},
		{"tasks without their workflow", promiseFlow, "cd", func(s *story) { delete(s.end.Flows, "cd") }},
		{"lost workflow", promiseFlow, "ch", func(s *story) {
			delete(s.end.Flows, "ch")
			delete(s.end.Tasks, "ch")
			delete(s.end.Tasks, "ch-2")
		}},
		{"workflow that never ends", promiseFlow, "ch", func(s *story) { s.end.Flows["ch"].State = "running" }},
		{"member counted twice", promiseFlow, "cd", func(s *story) { s.end.Flows["cd"].Succeeded = 3 }},
		{"chain without its second task", promiseChain, "ch", func(s *story) { delete(s.end.Tasks, "ch-2"); s.end.Flows["ch"].Succeeded = 1 }},
		{"chain loses a result", promiseChain, "ch", func(s *story) { s.end.Tasks["ch-2"].Result = json.RawMessage(`"2"`) }},
		{"chain goes on after a failure", promiseChain, "ch", func(s *story) {
			s.end.Tasks["ch"].State = "failed"
			s.end.Flows["ch"] = &flow{State: "failed", Succeeded: 1, Failed: 1}
		}},
		{"results out of order", promiseChord, "cd", func(s *story) { s.end.Tasks["cd-all"].Result = json.RawMessage(`["all","2","1"]`) }},
		{"callback without a result of a member", promiseChord, "cd", func(s *story) { s.end.Tasks["cd-all"].Result = json.RawMessage(`["all","1"]`) }},
		{"callback twice", promiseFlow, "cd", func(s *story) { s.end.Runs["cd-all"] = append(s.end.Runs["cd-all"], s.end.Runs["cd-all"]...) }},
		{"callback after a failed member", promiseChord, "cd", func(s *story) {
			s.end.Tasks["cd-1"].State = "failed"
			s.end.Flows["cd"] = &flow{State: "failed", Succeeded: 1, Failed: 1}
		}},
		{"callback never accepted", promiseChord, "cd", func(s *story) { delete(s.end.Tasks, "cd-all") }},
		{"start after the workflow was cancelled", promiseCancel, "night", func(s *story) {
			at := time.Unix(0, s.find(kindAbort, "night").Return+second)
			s.end.Tasks["night"].Started = &at
		}},
		{"acknowledged file is gone", promiseFile, "d/f", func(s *story) { s.find(kindStore, "d/f").Status = 200 }},
		{"wrong bytes", promiseFile, "d/f", func(s *story) { s.ops[s.find(kindDownload, "d/f").Seq-2].Got = "byte" }},
		{"file comes back", promiseFile, "d/f", func(s *story) { s.end.Files["d/f"] = "bytes" }},
		{"offset goes back", promiseTus, "tus/u", func(s *story) {
			last := s.find(kindTusPatch, "tus/u")
			s.add(op{Kind: kindTusOffset, ID: "tus/u", Status: 200, N: last.N - 1})
		}},
		{"offset beyond what was sent", promiseTus, "tus/u", func(s *story) { s.find(kindTusOffset, "tus/u").N = 7 }},
		{"wrong bytes of an upload", promiseFile, "tus/u", func(s *story) { s.end.Files["tus/u"] = "half" }},
		{"finished upload is gone", promiseFile, "tus/u", func(s *story) { delete(s.end.Files, "tus/u") }},
		{"unfinished upload is a file", promiseFile, "tus/u", func(s *story) { *s.find(kindTusPatch, "tus/u") = op{Kind: kindRead, ID: "never", Status: 404} }},
		{"reordered messages", promiseChannel, "news", func(s *story) {
			a, b := s.event("m7"), s.event("m8")
			a.N, b.N, a.Got, b.Got = b.N, a.N, b.Got, a.Got
		}},
		{"repeated message", promiseChannel, "news", func(s *story) { *s.event("m8") = *s.event("m7") }},
		{"message under another number", promiseChannel, "news", func(s *story) { s.event("m7").Got = "m6" }},
		{"gap that nobody announced", promiseChannel, "news", func(s *story) { s.event("m7").Got, s.event("m7").N = gotSubscribed, 6 }},
		{"message of nobody", promiseChannel, "news", func(s *story) { s.event("m7").Got = "m9" }},
		{"last message is missing", promiseChannel, "news", func(s *story) { s.ops = s.ops[:len(s.ops)-1] }},
		{"numbers against time", promiseChannel, "news", func(s *story) { s.find(kindPublish, "news").N = 3 }},
		{"two tasks of a unique key", promiseUnique, "key", func(s *story) { s.task("u2", "u", "success", 1, "u") }},
		{"no task of a unique key", promiseUnique, "key", func(s *story) { delete(s.end.Tasks, "u1") }},
		{"unique key accepted twice", promiseUnique, "key", func(s *story) { o := s.content("u2"); o.Status, o.Got = 202, "u2" }},
		{"unique key returns another task", promiseUnique, "key", func(s *story) { s.content("u2").Got = "u3" }},
		{"task of a unique key never ends", promiseTask, "u1", func(s *story) { s.end.Tasks["u1"].State = "queued" }},
		{"expiring key accepted twice", promiseExpiring, "short", func(s *story) { o := s.content("e2"); o.Status, o.Got = 202, "e2" }},
		{"key that does not expire", promiseExpiring, "short", func(s *story) { o := s.content("e4"); o.Status, o.Got = 200, "e1" }},
		{"expiring key returns a task of nobody", promiseExpiring, "short", func(s *story) { s.content("e2").Got = "e9" }},
		{"task of an expiring key is gone", promiseTask, "e4", func(s *story) { delete(s.end.Tasks, "e4") }},
		{"task of an expiring key never ends", promiseTask, "e4", func(s *story) { s.end.Tasks["e4"].State = "queued" }},
		{"purge forgets a task", promiseOrder, "idle", func(s *story) { s.find(kindRead, "idle").Got = "queued" }},
		{"purged task runs", promiseTask, "idle", func(s *story) { s.end.Runs["idle"] = []run{{Attempt: 1, Step: runStart}} }},
		{"purge cancels a task that has ended", promiseOrder, "one", func(s *story) { s.end.Tasks["one"].State = "cancelled" }},
		{"many tasks cancelled, one not", promiseOrder, "many", func(s *story) {
			o := s.many(kindCancelAll)
			o.N, o.IDs = 1, []string{"many"}
			s.ops[o.Seq+1] = op{Kind: kindRead, ID: "never", Status: 404, Call: o.Call + second, Return: o.Return + second}
		}},
		{"many tasks retried, one not", promiseOrder, "many", func(s *story) { s.find(kindRead, "many").Got = "cancelled" }},
		{"no task retried, one is", promiseOrder, "many", func(s *story) {
			s.ops[s.find(kindRead, "many").Seq-1].N = 0
		}},
		{"lease given twice", promiseLease, "remote", func(s *story) { s.lease(kindLease, "L2").N = 1 }},
		{"lost lease ends an attempt", promiseLease, "remote", func(s *story) { o := s.lease(kindFinish, "L1"); o.Status, o.Got = 200, "success" }},
		{"lease refused although it was extended", promiseLease, "remote", func(s *story) {
			o := s.lease(kindFinish, "L2")
			o.Status, o.Got, o.Repeat = 409, "", false
		}},
		{"end of an attempt changes", promiseLease, "remote", func(s *story) {
			o := *s.lease(kindFinish, "L2")
			o.Got = "failed"
			s.add(o)
		}},
		{"success of a worker program is undone", promiseOrder, "remote", func(s *story) {
			s.end.Tasks["remote"].State = "failed"
			s.end.Runs["remote"][1].Step = runFail
		}},
		{"attempt of a worker program runs twice", promiseTask, "remote", func(s *story) { s.end.Runs["remote"][2].Attempt = 1 }},
		{"success that no worker program reported", promiseOrder, "remote", func(s *story) {
			s.ops = slices.DeleteFunc(s.ops, func(o op) bool { return o.Kind == kindFinish && o.Lease == "L2" })
		}},
		{"507 without a full disk", promiseInternal, "d/full", func(s *story) { s.find(kindFault, diskFull).ID = "stop worker" }},
		{"internal error", promiseInternal, "never", func(s *story) { s.find(kindEnqueue, "never").Status = 500 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := right()
			row.change(s)
			var got []string
			for _, v := range check(s.ops, s.end) {
				if v.promise == row.promise && v.object == row.object {
					return
				}
				got = append(got, v.String())
			}
			t.Errorf("not found: %s of %s; found: %s", row.promise, row.object, strings.Join(got, "\n"))
		})
	}
}

// During a reset of a connection to Redis, the response to a new task may be 200. At another time
// it may not.
func TestResent(t *testing.T) {
	for name, fault := range map[string]string{"reset": resets + linkRedis, "another fault": "stop redis-server"} {
		s := right()
		o := s.find(kindEnqueue, "fails")
		o.Status = 200
		s.ops = append(s.ops, op{Seq: len(s.ops), Kind: kindFault, ID: fault, Status: 200, Call: o.Call, Return: o.Return})
		found := check(s.ops, s.end)
		if want := fault != resets+linkRedis; (len(found) > 0) != want {
			t.Errorf("%s: violations %v", name, found)
		}
	}
}

// The history writes a line before each operation and another one after it.
func TestHistoryWritesLines(t *testing.T) {
	var out strings.Builder
	h := &history{out: &out}
	seq := h.begin(op{Kind: kindRead, ID: "one"})
	h.end(seq, func(o *op) { o.Status, o.Got = 200, "success" })
	lost := h.begin(op{Kind: kindRead, ID: "two"})
	h.end(lost, func(*op) {})
	if lines := strings.Count(out.String(), "\n"); lines != 4 || h.err != nil {
		t.Errorf("%d lines, %v:\n%s", lines, h.err, &out)
	}
	ops := h.all()
	if ops[0].lost() || ops[0].Return < ops[0].Call || !ops[1].lost() || ops[1].Return != 0 {
		t.Errorf("%+v", ops)
	}
}
