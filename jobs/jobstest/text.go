package jobstest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/galeserver/gale/internal/utf8text"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var textChecks = []check{
	{"arguments and results that are not UTF-8 are refused", (*suite).refusesInvalidText},
	{"texts of handlers are made valid UTF-8", (*suite).repairsText},
	{"long texts are cut between characters, to the same size in all stores", (*suite).cutsTexts},
	{"a long line of a log is cut, not lost", (*suite).cutsLines},
}

func (s *suite) refusesInvalidText(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	before := get(t, st, "a")
	wantRefused := func(what string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, text := range []json.RawMessage{json.RawMessage("[\"a\xff\xfeb\"]"), json.RawMessage(`["\ud800"]`), json.RawMessage("[{\"\xff\":1}]")} {
		bad := task("b")
		bad.Args = text
		_, _, err := st.Enqueue(t.Context(), bad)
		wantRefused("Enqueue", err)
		_, err = st.EnqueueGroup(t.Context(), jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("c"), bad}})
		wantRefused("EnqueueGroup", err)
		wantRefused("Finish", st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess, Result: text}))
		wantRefused("Finish with a next task", st.Finish(t.Context(), l, driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{bad}}))
	}
	wantSame(t, st, before)
	for _, id := range []string{"b", "c"} {
		_, err := st.Get(t.Context(), id)
		wantError(t, "Get "+id, err, jobs.ErrNotFound)
	}
}

func (s *suite) repairsText(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	if err := st.Progress(t.Context(), l, 1, "note \xff\x00"); err != nil {
		t.Fatal(err)
	}
	appendLog(t, st, l, "line \xff\n")
	finish(t, st, l, driver.Outcome{State: jobs.StateFailed, Error: "error \xff"})
	got := get(t, other, "a")
	if got.Note != "note \uFFFD\x00" || got.Error != "error \uFFFD" || got.Failures[0].Error != "error \uFFFD" {
		t.Errorf("%+v", got)
	}
	wantLog(t, other, "line \uFFFD\n")
}

// EnqueueForRepair enqueues the task a in the group g. The test of a store then writes
// invalid bytes directly into the database, see WantRepaired.
func EnqueueForRepair(t *testing.T, st driver.Store) {
	t.Helper()
	if _, err := st.EnqueueGroup(t.Context(), jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("a")}}); err != nil {
		t.Fatal(err)
	}
}

// WantRepaired checks that the store returns valid UTF-8. Before, the caller must write
// these values into the database: for the task a the arguments "a\xff\xfeb" and "\ud800",
// the result "\xff", the note n\xff, the error e\xff and the log l\xff; for the group g the
// reason r\xff.
func WantRepaired(t *testing.T, st driver.Store) {
	t.Helper()
	got := get(t, st, "a")
	group, err := st.Group(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	const args = "[\"a\uFFFD\uFFFDb\",\"\uFFFD\"]"
	leased := leaseOne(t, st, "w").Task
	if string(got.Args) != args || string(leased.Args) != args || string(got.Result) != "\"\uFFFD\"" ||
		got.Note != "n\uFFFD" || got.Error != "e\uFFFD" || group.Error != "r\uFFFD" {
		t.Errorf("%+v\n%+v", got, group)
	}
	wantLog(t, st, "l\uFFFD")
}

// long is a text of 100,002 bytes. It has an invalid byte and 50,000 characters of two bytes
// each.
var long = "x\xff" + strings.Repeat("ü", 50_000)

// wantText compares texts that are too long to print.
func wantText(t *testing.T, what, got, want string, limit int) {
	t.Helper()
	if got != want || len(got) > limit || !utf8.ValidString(got) {
		t.Errorf("%s has %d bytes, %q … %q; want %d, %q … %q", what, len(got), got[:min(len(got), 20)], got[max(0, len(got)-8):],
			len(want), want[:min(len(want), 20)], want[max(0, len(want)-8):])
	}
}

func (s *suite) cutsTexts(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	text, callback := long, task("callback")
	g := jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("a")}, Callback: &callback}
	if _, err := st.EnqueueGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	l := leaseOne(t, st, "w")
	if err := st.Progress(t.Context(), l, 50, text); err != nil {
		t.Fatal(err)
	}
	finish(t, st, l, driver.Outcome{State: jobs.StateFailed, Error: text})
	got := get(t, other, "a")
	wantText(t, "note", got.Note, utf8text.Cut(text, driver.MaxNote), driver.MaxNote)
	wantText(t, "error", got.Error, utf8text.Cut(text, driver.MaxError), driver.MaxError)
	wantText(t, "failure", got.Failures[0].Error, utf8text.Cut(text, driver.MaxFailure), driver.MaxFailure)
	group, err := other.Group(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	reason := utf8text.Cut(text, driver.MaxReason)
	wantText(t, "error of the group", group.Error, reason, driver.MaxReason)
	got = get(t, other, "callback")
	wantText(t, "error of the callback", got.Error, driver.ChordError("a", reason), driver.MaxFailure)
	wantText(t, "failure of the callback", got.Failures[0].Error, got.Error, driver.MaxFailure)
}

func (s *suite) cutsLines(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	cut := utf8text.Cut(long, driver.MaxLogLine-1) + "\n"
	appendLog(t, st, l, long+"\n")
	wantLog(t, st, cut)
	appendLog(t, st, l, "short\n"+long) // without a newline at the end
	wantLog(t, st, cut+"short\n"+cut)
	for range 3 {
		appendLog(t, st, l, long+"\n")
	}
	wantLog(t, st, strings.Repeat(cut, 3)) // no more lines fit
}
