package sqlite_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/sqlite"
)

func TestTextsAreBounded(t *testing.T) {
	s := open(t, filepath.Join(sqlite.InMemory(t), "jobs.db"), sqlite.Options{})
	accept(t, s, "a")
	for i := range 105 {
		leases, err := s.Lease(t.Context(), work("w", 1))
		if err != nil {
			t.Fatal(err)
		}
		if i == 104 {
			if err := s.Progress(t.Context(), leases[0], 1000, strings.Repeat("é", 5000)); err != nil {
				t.Fatal(err)
			}
		}
		text := fmt.Sprint(i)
		if i > 100 {
			text += " \xff" + strings.Repeat("世界", 20000)
		}
		if err := s.Finish(t.Context(), leases[0], driver.Outcome{State: jobs.StateRetrying, Error: text}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Failures); n != 100 || got.Failures[0].Attempt != 6 || got.Failures[99].Attempt != 105 {
		t.Errorf("%d failures, from attempt %d on", n, got.Failures[0].Attempt)
	}
	for text, limit := range map[string]int{got.Error: 64 << 10, got.Failures[99].Error: 4 << 10, got.Note: 4 << 10} {
		if len(text) > limit || len(text) < limit-8 || !utf8.ValidString(text) || !strings.HasSuffix(text, "…") {
			t.Errorf("text of %d bytes, limit %d: %q", len(text), limit, text[len(text)-10:])
		}
	}
	if !strings.HasPrefix(got.Error, "104 \uFFFD世界") || got.Progress != 100 {
		t.Errorf("error %.20q, progress %d", got.Error, got.Progress)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}

// Invalid tasks are refused, and the error does not wrap ErrUnavailable.
func TestInvalidTasks(t *testing.T) {
	s := open(t, temp(t), sqlite.Options{})
	accept(t, s, "a")
	leases, err := s.Lease(t.Context(), work("w", 1))
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, n := range map[string]jobs.NewTask{
		"no id":     {Name: "work"},
		"bad id":    {ID: "../a", Name: "work"},
		"no name":   {ID: "b"},
		"half JSON": {ID: "b", Name: "work", Args: json.RawMessage(`["x`)},
	} {
		_, _, err := s.Enqueue(t.Context(), n)
		want(what, err)
		want(what+" as next", s.Finish(t.Context(), leases[0], driver.Outcome{State: jobs.StateSuccess, Next: []jobs.NewTask{n}}))
	}
	want("half a result", s.Finish(t.Context(), leases[0], driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`{`)}))
	_, err = s.Lease(t.Context(), work("w", 0))
	want("Lease of none", err)
	if err := s.Finish(t.Context(), leases[0], driver.Outcome{State: jobs.StateSuccess}); err != nil {
		t.Error(err)
	}
}

// A released task keeps its place in the queue; a task whose lease was lost goes to the
// end.
func TestOrderAfterReleaseAndReclaim(t *testing.T) {
	s := open(t, temp(t), sqlite.Options{})
	accept(t, s, "a", "b", "c")
	first := func() string {
		leases, err := s.Lease(t.Context(), work("w", 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Release(t.Context(), leases[0]); err != nil {
			t.Fatal(err)
		}
		return leases[0].Task.ID
	}
	if got := first() + first(); got != "aa" {
		t.Errorf("after a release %s came first", got)
	}
	if _, err := s.Lease(t.Context(), work("killed", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reclaim(t.Context(), "killed"); err != nil {
		t.Fatal(err)
	}
	if got := first(); got != "b" {
		t.Errorf("after a reclaim %s came first", got)
	}
}
