package jobstest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var logChecks = []check{
	{"a log has the lines of all attempts", (*suite).logs},
	{"the last whole lines of a long log are kept", (*suite).logIsBounded},
	{"a log is removed with its task", (*suite).logForgets},
	{"a stale lease logs nothing", (*suite).logFenced},
	{"a mark never moves back", (*suite).marks},
}

func appendLog(t *testing.T, st driver.Store, l *driver.Lease, lines string) {
	t.Helper()
	if err := st.AppendLog(t.Context(), l, lines); err != nil {
		t.Fatalf("AppendLog: %v", err)
	}
}

// wantLog checks the log of the task a.
func wantLog(t *testing.T, st driver.Store, want string) {
	t.Helper()
	if got, err := st.Log(t.Context(), "a"); err != nil || got != want {
		t.Errorf("log is %.200q, %v; want %.200q", got, err, want)
	}
}

func (s *suite) logs(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	_, err := st.Log(t.Context(), "nobody")
	wantError(t, "Log of an unknown id", err, jobs.ErrNotFound)
	enqueue(t, st, task("a"))
	wantLog(t, st, "")
	first := leaseOne(t, st, "w")
	version := get(t, st, "a").Version
	appendLog(t, st, first, "eins\n")
	appendLog(t, other, first, "größer \x00 zwei\n")
	if got := get(t, st, "a").Version; got != version {
		t.Errorf("version %d after %d", got, version)
	}
	finish(t, st, first, driver.Outcome{State: jobs.StateFailed, Error: "x"})
	if _, err := st.Requeue(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	appendLog(t, st, leaseOne(t, st, "w"), "drei\n")
	wantLog(t, other, "eins\ngrößer \x00 zwei\ndrei\n")
}

func (s *suite) logIsBounded(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	var all strings.Builder
	for i := range 40 {
		var lines strings.Builder
		for j := range 50 {
			fmt.Fprintf(&lines, "line %d of %d, which says nothing else of use\n", j, i)
		}
		appendLog(t, st, l, lines.String())
		all.WriteString(lines.String())
	}
	got, err := st.Log(t.Context(), "a")
	if err != nil || len(got) > driver.MaxLog || len(got) < driver.MaxLog-100 {
		t.Fatalf("log has %d bytes, %v", len(got), err)
	}
	if !strings.HasSuffix(all.String(), "\n"+got) {
		t.Errorf("log is %.100q, want the last whole lines", got)
	}
}

func (s *suite) logForgets(t *testing.T) {
	st := s.keeping(t, keep)
	for name, end := range map[string]func(*driver.Lease){
		"finished":  func(l *driver.Lease) { finish(t, st, l, driver.Outcome{State: jobs.StateSuccess}) },
		"dead":      func(l *driver.Lease) { finish(t, st, l, driver.Outcome{State: jobs.StateDead, Error: "x"}) },
		"cancelled": func(*driver.Lease) { cancelSoon(t, st, "a") },
	} {
		t.Run(name, func(t *testing.T) {
			enqueue(t, st, task("a"))
			wantLog(t, st, "")
			l := leaseOne(t, st, "w")
			appendLog(t, st, l, "old\n")
			end(l)
			wantGone(t, st, "a")
			_, err := st.Log(t.Context(), "a")
			wantError(t, "Log", err, jobs.ErrNotFound)
		})
	}
	enqueue(t, st, task("a"))
	wantLog(t, st, "")
}

// cancelSoon cancels a task that may be removed at any time.
func cancelSoon(t *testing.T, st driver.Store, id string) {
	t.Helper()
	if _, err := st.Cancel(t.Context(), id); err != nil {
		t.Fatalf("Cancel: %v", err)
	}
}

func (s *suite) logFenced(t *testing.T) {
	st := s.handle(t)
	enqueue(t, st, task("a"))
	l := leaseOne(t, st, "w")
	if _, err := st.Reclaim(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	leaseOne(t, st, "w")
	wantError(t, "AppendLog", st.AppendLog(t.Context(), l, "stale\n"), jobs.ErrLeaseLost)
	wantLog(t, st, "")
}

func (s *suite) marks(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	at := time.Now().Truncate(time.Microsecond)
	for i, step := range []struct{ to, was time.Time }{
		{time.Time{}, time.Time{}},
		{at, time.Time{}},
		{at.Add(-time.Hour), at},
		{time.Time{}, at},
		{at.Add(time.Hour), at},
		{time.Time{}, at.Add(time.Hour)},
	} {
		if was, err := []driver.Store{st, other}[i%2].Mark(t.Context(), "a", step.to); err != nil || !was.Equal(step.was) {
			t.Errorf("step %d: Mark(%v) = %v, %v; want %v", i, step.to, was, err, step.was)
		}
	}
	if was, err := st.Mark(t.Context(), "b", time.Time{}); err != nil || !was.IsZero() {
		t.Errorf("another mark: %v, %v", was, err)
	}
}
