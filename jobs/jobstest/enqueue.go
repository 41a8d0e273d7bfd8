package jobstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

var enqueueChecks = []check{
	{"a task reads back as it was given", (*suite).readsBack},
	{"fields that are left out get their defaults", (*suite).defaults},
	{"arguments of any size and script are stored unchanged", (*suite).arguments},
	{"the same id is one task", (*suite).sameID},
	{"the same id enqueued concurrently is one task", (*suite).sameIDAtOnce},
	{"a missing task is ErrNotFound", (*suite).notFound},
}

func (s *suite) readsBack(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	n := jobs.NewTask{
		ID: "A.b_c-9", Name: "transcode", Queue: "media", Args: json.RawMessage(`["a.mp3", {"n": 12345678901234567890}]`),
		RunAt: time.Now().Add(time.Hour), Timeout: 90 * time.Second, MaxRetries: 3, Signature: []byte{0, 1, 255},
	}
	before := time.Now()
	got := enqueue(t, st, n)
	if got.ID != n.ID || got.Name != n.Name || got.Queue != n.Queue || string(got.Args) != string(n.Args) ||
		got.Timeout != n.Timeout || got.MaxRetries != n.MaxRetries || !bytes.Equal(got.Signature, n.Signature) {
		t.Errorf("given %+v\n  got %+v", n, got)
	}
	// A store may have a resolution of a millisecond, but a task must not be due early.
	if d := got.RunAt.Sub(n.RunAt); d < 0 || d > 2*time.Millisecond {
		t.Errorf("run time is off by %v", d)
	}
	if d := got.Created.Sub(before); d < -2*time.Millisecond || d > patience {
		t.Errorf("created %v after the call", d)
	}
	if got.State != jobs.StateScheduled || got.Version < 1 {
		t.Errorf("state %s, version %d", got.State, got.Version)
	}
	if got.RunAt.Location() != time.UTC || got.Created.Location() != time.UTC {
		t.Errorf("times are not UTC: %v, %v", got.RunAt, got.Created)
	}
	if seen := get(t, other, n.ID); !reflect.DeepEqual(seen, got) {
		t.Errorf("Enqueue returned %+v\n another handle %+v", got, seen)
	}
}

func (s *suite) defaults(t *testing.T) {
	st := s.handle(t)
	got := enqueue(t, st, task("bare"))
	if got.Queue != jobs.DefaultQueue || got.State != jobs.StateQueued || got.RunAt.IsZero() || got.Signature != nil {
		t.Errorf("got %+v", got)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"args":[]`, `"result":null`, `"failures":[]`, `"artifacts":[]`,
		`"started":null`, `"finished":null`, `"state":"queued"`, `"progress":0`, `"attempts":0`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func (s *suite) arguments(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	for id, text := range map[string]string{
		"large":   strings.Repeat("0123456789abcdef", 1<<16), // 1 MiB
		"unicode": "Grüße, 世界 🌪 \u2028 \U0010ffff",
		"control": "\x00\t\"\\\u001f</script>",
		"empty":   "",
	} {
		args, err := json.Marshal([]string{text, id})
		if err != nil {
			t.Fatal(err)
		}
		n := task(id)
		n.Args, n.Name, n.Queue = args, "täsk "+id, "qüeue"
		enqueue(t, st, n)
		l := lease(t, other, driver.LeaseRequest{Owner: "wörker", Queues: []string{n.Queue}, Names: []string{n.Name}, Max: 1})[0]
		if !bytes.Equal(l.Task.Args, args) || l.Task.Name != n.Name || l.Task.Worker != "wörker" {
			t.Errorf("%s: leased %d bytes of arguments for %q, given %d", id, len(l.Task.Args), l.Task.Name, len(args))
		}
		finish(t, other, l, driver.Outcome{State: jobs.StateSuccess, Result: args})
		if got := get(t, st, id); !bytes.Equal(got.Args, args) || !bytes.Equal(got.Result, args) {
			t.Errorf("%s: %d bytes of arguments and %d of result, want %d", id, len(got.Args), len(got.Result), len(args))
		}
	}
}

func (s *suite) sameID(t *testing.T) {
	st, other := s.handle(t), s.handle(t)
	enqueue(t, st, task("one"))
	finish(t, st, leaseOne(t, st, "w"), driver.Outcome{State: jobs.StateSuccess, Result: json.RawMessage(`"first"`)})
	before := get(t, st, "one")

	again := jobs.NewTask{ID: "one", Name: "other", Queue: "other", Args: json.RawMessage(`[1]`)}
	got, created, err := other.Enqueue(t.Context(), again)
	if err != nil || created {
		t.Fatalf("Enqueue = created %v, %v", created, err)
	}
	if !reflect.DeepEqual(got, before) {
		t.Errorf("returned %+v\n    want %+v", got, before)
	}
	wantSame(t, st, before)
	s.leaseNone(t, st, driver.LeaseRequest{Owner: "w", Queues: []string{"default", "other"}, Names: []string{"work", "other"}, Max: 1})
}

func (s *suite) sameIDAtOnce(t *testing.T) {
	handles := []driver.Store{s.handle(t), s.handle(t)}
	const rounds, callers = 10, 16
	for round := range rounds {
		var created atomic.Int32
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				n := task(fmt.Sprint("race-", round))
				n.MaxRetries = i
				_, first, err := handles[i%2].Enqueue(t.Context(), n)
				if err != nil {
					t.Error(err)
				}
				if first {
					created.Add(1)
				}
			})
		}
		wg.Wait()
		if n := created.Load(); n != 1 {
			t.Errorf("round %d: created %d times", round, n)
		}
	}
	for range rounds {
		leaseOne(t, handles[0], "w")
	}
	s.leaseNone(t, handles[1], by("w", 1))
}

func (s *suite) notFound(t *testing.T) {
	st := s.handle(t)
	_, err := st.Get(t.Context(), "nobody")
	wantError(t, "Get", err, jobs.ErrNotFound)
	_, err = st.Watch(t.Context(), "nobody", 0)
	wantError(t, "Watch", err, jobs.ErrNotFound)
}
