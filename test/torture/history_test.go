// Package torture_test runs random operations and random faults against a server and checks
// the promises of Gale afterwards. The operations and faults follow from a seed.
//
// `make torture` and `make e2e` run it. `make test` only tests the oracle, which decides from
// a history and the final state whether a promise was broken (docs/decisions/0079-torture.md).
package torture_test

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kinds of operations.
const (
	kindEnqueue   = "enqueue"   // POST /tasks with one task
	kindRead      = "read"      // GET /tasks/{id}
	kindCancel    = "cancel"    // DELETE /tasks/{id}
	kindRetry     = "retry"     // POST /tasks/{id}/retry
	kindChain     = "chain"     // POST /tasks with a chain
	kindChord     = "chord"     // POST /tasks with a group and a callback
	kindAbort     = "abort"     // DELETE /workflows/{id}
	kindPause     = "pause"     // POST /queues/{name}/pause
	kindResume    = "resume"    // POST /queues/{name}/resume
	kindQueue     = "queue"     // GET /queues, for one queue
	kindStore     = "store"     // POST or PUT of a whole file
	kindDownload  = "download"  // GET of a file
	kindRemove    = "remove"    // DELETE of a file
	kindTusCreate = "tusCreate" // POST /tus/
	kindTusPatch  = "tusPatch"  // PATCH of an upload
	kindTusOffset = "tusOffset" // HEAD of an upload
	kindPublish   = "publish"   // POST /publish/{channel}
	kindEvent     = "event"     // an event that a subscriber received

	kindUnique    = "unique"    // POST /tasks with a unique key
	kindExpiring  = "expiring"  // POST /tasks with a unique key that ends after keyTime
	kindCancelAll = "cancelAll" // POST /tasks/cancel
	kindRetryAll  = "retryAll"  // POST /tasks/retry
	kindPurge     = "purge"     // POST /tasks/purge

	kindLease   = "lease"     // a lease that a worker program got
	kindExtend  = "extend"    // a lease that a worker program has extended
	kindLost    = "leaseLost" // a lease of which a worker program learned that it is lost
	kindFinish  = "finish"    // the end of an attempt by a worker program
	kindRelease = "release"   // POST /workers/release

	kindReport = "report" // POST /workers/progress or /workers/log

	kindFault = "fault" // a fault, from its beginning to its repair
)

// Contents of events that are not messages, in op.Got.
const (
	gotSubscribed = "\x00subscribed"
	gotGap        = "\x00gap"
)

// paused is op.Got of a queue that is paused.
const paused = "paused"

// keyTime is the time for which an expiring key has one task, and keyRounding by how much it
// may be rounded.
const (
	keyTime     = 2 * time.Second
	keyRounding = 100 * time.Millisecond
)

// op is one operation of one client. An operation whose response was lost has Status 0 and
// Return 0: it may have happened or not, at any time after Call.
type op struct {
	Seq    int    `json:"seq"` // index in the history
	Client int    `json:"client"`
	Kind   string `json:"kind"`
	ID     string `json:"id"` // task, workflow, queue, path, upload, channel, unique key, or fault

	Call   int64 `json:"call"`             // time in nanoseconds
	Return int64 `json:"return,omitempty"` // time in nanoseconds
	Status int   `json:"status,omitempty"` // of the HTTP response

	Content string   `json:"content,omitempty"` // what was sent: tag of the task, digest of the file, message
	Got     string   `json:"got,omitempty"`     // what the response says: state of the task, digest, message
	Tag     string   `json:"tag,omitempty"`     // tag of the task in the response
	N       int64    `json:"n,omitempty"`       // attempts in the response; offset; sequence number
	Sent    int64    `json:"sent,omitempty"`    // end of the bytes that a PATCH has sent at most
	Task    *spec    `json:"task,omitempty"`    // task that was sent
	Members []member `json:"members,omitempty"` // tasks of a workflow; of a chord the last one is the callback

	IDs    []string `json:"ids,omitempty"`    // tasks that a request changes; without them, those of the idle queue
	Lease  string   `json:"lease,omitempty"`  // of a worker program
	Since  int64    `json:"since,omitempty"`  // time in nanoseconds before which the lease did not begin, or was not extended
	Held   bool     `json:"held,omitempty"`   // whether the worker program has kept the lease
	Repeat bool     `json:"repeat,omitempty"` // whether an earlier request may have ended the attempt
}

// lost reports whether the effect of the operation is unknown: its response was lost, or it
// was an error of the server.
func (o op) lost() bool { return o.Status == 0 || o.Status >= 500 }

// until is the latest time at which the operation may have happened.
func (o op) until() int64 {
	if o.lost() {
		return 1<<63 - 1
	}
	return o.Return
}

// spec is how a task behaves.
type spec struct {
	Queue   string `json:"queue"`
	MS      int    `json:"ms"`               // duration of an attempt
	Fails   int    `json:"fails"`            // number of attempts that fail
	Retries int    `json:"retries"`          // max_retries
	Crash   bool   `json:"crash,omitempty"`  // whether each attempt ends the worker's process
	Remote  bool   `json:"remote,omitempty"` // whether a worker program runs it
}

// member is a task of a workflow.
type member struct {
	ID   string `json:"id"`
	Tag  string `json:"tag"`
	Task spec   `json:"task"`
}

// history records operations. It writes a line of JSON before an operation begins and another
// one after its response.
type history struct {
	mu  sync.Mutex
	ops []op
	out io.Writer
	err error // first error of out
}

// begin records an operation before it is sent, and returns its index.
func (h *history) begin(o op) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.Seq, o.Call = len(h.ops), time.Now().UnixNano()
	h.ops = append(h.ops, o)
	h.write(o)
	return o.Seq
}

// end records the response. change sets what the response says.
func (h *history) end(seq int, change func(*op)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &h.ops[seq]
	change(o)
	if o.Status != 0 {
		o.Return = time.Now().UnixNano()
	}
	h.write(*o)
}

func (h *history) write(o op) {
	text, err := json.Marshal(o)
	if err == nil && h.out != nil {
		_, err = fmt.Fprintf(h.out, "%s\n", text)
	}
	if h.err == nil {
		h.err = err
	}
}

// all returns a copy of the operations.
func (h *history) all() []op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]op(nil), h.ops...)
}

// events returns how many subscribers of a channel have received a message.
func (h *history) events(channel, text string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.ops {
		if o := &h.ops[i]; o.Kind == kindEvent && o.ID == channel && o.Got == text {
			n++
		}
	}
	return n
}

// run is a step of an attempt as its handler has recorded it.
type run struct {
	Attempt int    `json:"attempt"`
	At      int64  `json:"at"`   // time in nanoseconds
	Step    string `json:"step"` // runStart, runFail, or runEnd
}

// Steps of an attempt.
const (
	runStart = "start"
	runFail  = "fail"
	runEnd   = "end"
)

// task is the final state of a task.
type task struct {
	ID       string
	State    string
	Queue    string
	Args     []json.RawMessage
	Result   json.RawMessage
	Attempts int
	Started  *time.Time
	Failures []struct{ Error string }
}

// tag is the first argument of a task.
func (t *task) tag() (tag string) {
	if len(t.Args) > 0 {
		_ = json.Unmarshal(t.Args[0], &tag) // another type has the tag ""
	}
	return tag
}

// flow is the final state of a workflow.
type flow struct {
	State             string
	Succeeded, Failed int
	Result            json.RawMessage
}

// state is the final state of the server.
type state struct {
	Tasks  map[string]*task  // by id; those that do not exist are missing
	Listed map[string]bool   // ids of the tasks in GET /tasks
	Flows  map[string]*flow  // by id; those that do not exist are missing
	Files  map[string]string // digests by path; those that do not exist are missing
	Runs   map[string][]run  // by id
	At     int64             // time at which it was read, in nanoseconds
}
