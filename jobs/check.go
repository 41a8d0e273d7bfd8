package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/galeserver/gale/internal/utf8text"
)

// Bounds of the texts that a task collects. A task is written anew at each
// change, so it must stay of a size. Stores cut nothing themselves: they keep
// what Outcome.Bounded, GroupReason, Note and LogLines return.
const (
	MaxError   = 64 << 10         // bytes of Task.Error
	MaxFailure = 4 << 10          // bytes of each text in Task.Failures
	MaxNote    = 4 << 10          // bytes of Task.Note
	MaxLog     = 64 << 10         // bytes of a task's log
	MaxLogLine = 16 << 10         // bytes of a line of it
	MaxReason  = MaxFailure - 256 // bytes of Group.Error; leaves room for an id and ChordError's words

	// MaxFailures is how many Failures are kept, the newest.
	MaxFailures = MaxRetries
)

// Check refuses what a store could keep but never show or name: the caller's
// fault, so not ErrUnavailable. Every Store calls it.
func (n NewTask) Check() error {
	switch {
	case !ValidID(n.ID):
		return fmt.Errorf("task id %q is not valid", n.ID)
	case n.Name == "":
		return fmt.Errorf("task %s has no name", n.ID)
	case n.Args != nil && !validJSON(n.Args):
		return fmt.Errorf("arguments of task %s are not JSON in UTF-8", n.ID)
	case len(n.Followers) > MaxFollowers:
		return fmt.Errorf("task %s: %w: more than %d tasks follow", n.ID, ErrOption, MaxFollowers)
	case (n.Unique == "") != (n.UniqueFor < time.Millisecond):
		return fmt.Errorf("task %s: a unique task has a key and a time of at least a millisecond", n.ID)
	case len(n.Followers) > 0:
		return distinct(append([]string{n.ID}, n.Followers...))
	}
	return nil
}

// Check is NewTask.Check for all tasks of the group. All of its ids must differ.
func (g NewGroup) Check() error {
	if !ValidID(g.ID) {
		return fmt.Errorf("group id %q is not valid", g.ID)
	}
	if n := len(g.Members); n == 0 || n > MaxMembers {
		return fmt.Errorf("group %s has %d members, not 1 to %d", g.ID, n, MaxMembers)
	}
	all := g.Members
	if g.Callback != nil {
		var args []json.RawMessage
		if g.Callback.Args != nil && json.Unmarshal(g.Callback.Args, &args) != nil {
			return fmt.Errorf("arguments of callback %s are not a JSON array", g.Callback.ID)
		}
		all = append(all[:len(all):len(all)], *g.Callback)
	}
	for _, n := range all {
		if err := n.Check(); err != nil {
			return fmt.Errorf("group %s: %w", g.ID, err)
		}
		if n.Unique != "" {
			return fmt.Errorf("group %s: task %s cannot be unique", g.ID, n.ID)
		}
	}
	if len(g.Followers()) > MaxFollowers {
		return fmt.Errorf("group %s: %w: more than %d tasks follow its members", g.ID, ErrOption, MaxFollowers)
	}
	return distinct(g.IDs())
}

// Check refuses what is no end of an attempt, a result that is not JSON in UTF-8, and
// next tasks that cannot be accepted. Every Store calls it.
func (o Outcome) Check() error {
	if !o.State.Final() && o.State != StateRetrying {
		return fmt.Errorf("%q is not how an attempt ends", o.State)
	}
	if o.Result != nil && !validJSON(o.Result) {
		return errors.New("the result is not JSON in UTF-8")
	}
	for _, n := range o.Next {
		if err := n.Check(); err != nil {
			return err
		}
	}
	return nil
}

func validJSON(data []byte) bool { return json.Valid(data) && utf8text.CheckJSON(data) == nil }

// AddFailure appends to a task's failures and drops the oldest beyond
// MaxFailures.
func AddFailure(all []Failure, f Failure) []Failure {
	f.Error = Cut(f.Error, MaxFailure)
	all = append(all, f)
	return all[max(0, len(all)-MaxFailures):]
}

// Cut bounds a text to n bytes of valid UTF-8, which is all that JSON can
// show; what was longer ends in an ellipsis.
func Cut(s string, n int) string {
	const ellipsis = "…"
	s = utf8text.Repair(s)
	if len(s) <= n {
		return s
	}
	end := n - len(ellipsis)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// Bounded returns the outcome with its Error as Task.Error keeps it; a success
// has none.
func (o Outcome) Bounded() Outcome {
	if o.Error = Cut(o.Error, MaxError); o.State == StateSuccess {
		o.Error = ""
	}
	return o
}

// GroupReason is what a group keeps of the error of its first member that did
// not succeed. With ChordError around it, it still fits into a Failure.
func GroupReason(reason string) string { return Cut(reason, MaxReason) }

// Note is what a task keeps of what its handler says.
func Note(text string) string { return Cut(text, MaxNote) }

// LogLines returns lines as they are added to a task's log: each ends, none is
// longer than MaxLogLine, and together they are at most MaxLog bytes, the last
// ones. So a store may cut the log at any end of a line, see CutLog.
func LogLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(Cut(strings.TrimSuffix(line, "\n"), MaxLogLine-1))
		b.WriteByte('\n')
	}
	return CutLog(b.String())
}

// CutLog keeps the last whole lines of a log that fit into MaxLog bytes.
func CutLog(text string) string {
	if len(text) <= MaxLog {
		return text
	}
	text = text[len(text)-MaxLog:]
	return text[strings.IndexByte(text, '\n')+1:]
}

// LostReason is the Error of a task that was lost too often.
func LostReason(times int) string { return fmt.Sprintf("took its worker down %d times", times) }

// JoinResults puts results behind the arguments of a callback.
func JoinResults(args json.RawMessage, results []json.RawMessage) (json.RawMessage, error) {
	var all []json.RawMessage
	if len(args) > 0 {
		if err := json.Unmarshal(args, &all); err != nil {
			return nil, fmt.Errorf("pass results on: %w", err)
		}
	}
	for _, r := range results {
		if len(r) == 0 {
			r = json.RawMessage("null")
		}
		all = append(all, r)
	}
	if all == nil {
		return json.RawMessage("[]"), nil
	}
	return json.Marshal(all)
}
