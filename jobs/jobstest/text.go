package jobstest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"gale/jobs"
)

var textStories = []story{
	{"arguments and results that are not UTF-8 are refused", (*suite).refusesInvalidText},
	{"what a program writes is made valid", (*suite).repairsText},
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
		wantRefused("Finish", st.Finish(t.Context(), l, jobs.Outcome{State: jobs.Success, Result: text}))
		wantRefused("Finish with a next task", st.Finish(t.Context(), l, jobs.Outcome{State: jobs.Success, Next: []jobs.NewTask{bad}}))
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
	finish(t, st, l, jobs.Outcome{State: jobs.Failed, Error: "error \xff"})
	got := get(t, other, "a")
	if got.Note != "note \uFFFD\x00" || got.Error != "error \uFFFD" || got.Failures[0].Error != "error \uFFFD" {
		t.Errorf("%+v", got)
	}
	wantLog(t, other, "line \uFFFD\n")

	// A log without a line end is cut anywhere, also within a character.
	if _, err := st.Requeue(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	appendLog(t, st, leaseOne(t, st, "w"), strings.Repeat("€", jobs.MaxLog))
	if text, err := other.Log(t.Context(), "a"); err != nil || !utf8.ValidString(text) || !strings.HasSuffix(text, "€") {
		t.Errorf("log is %.20q, %v", text, err)
	}
}

// EnqueueForRepair accepts the task a in the group g. A store's own test then writes
// invalid bytes behind the store's back, as in WantRepaired.
func EnqueueForRepair(t *testing.T, st jobs.Store) {
	t.Helper()
	if _, err := st.EnqueueGroup(t.Context(), jobs.NewGroup{ID: "g", Members: []jobs.NewTask{task("a")}}); err != nil {
		t.Fatal(err)
	}
}

// WantRepaired checks that what the store reads is valid UTF-8 if it holds of the task
// a the arguments "a\xff\xfeb" and "\ud800", the result "\xff", the note n\xff, the
// error e\xff and the log l\xff, and of the group g the reason r\xff.
func WantRepaired(t *testing.T, st jobs.Store) {
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
