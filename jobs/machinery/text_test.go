package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
)

// The client refuses arguments that are not UTF-8, in a task, a chain and a group, and
// the error names the place.
func TestArgumentsNotUTF8(t *testing.T) {
	f := newFixture(t, echo)
	for text, why := range map[string]string{
		"[\"a\xff\xfeb\"]": "element 1 is not valid UTF-8: byte 0xff",
		`["\ud800"]`:       `element 1 is not valid UTF-8: \ud800 is half of a surrogate pair`,
	} {
		bad := jobs.NewTask{ID: "bad", Name: "echo", Args: json.RawMessage(text)}
		good := jobs.NewTask{ID: "good", Name: "echo"}
		_, _, err := f.client.Enqueue(t.Context(), bad)
		_, _, chain := f.client.EnqueueChain(t.Context(), []jobs.Link{{NewTask: good}, {NewTask: bad, Immutable: true}})
		_, _, group := f.client.EnqueueGroup(t.Context(), jobs.NewGroup{Members: []jobs.NewTask{good, bad}})
		for what, err := range map[string]error{"task": err, "chain": chain, "group": group} {
			if !errors.Is(err, jobs.ErrArgs) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s of %s: %v", what, text, err)
			}
		}
		for _, id := range []string{"bad", "good"} {
			if _, err := f.store.Get(t.Context(), id); !errors.Is(err, jobs.ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
}

// Invalid UTF-8 in results, notes, logs, errors and panics of a handler is replaced.
func TestHandlerNotUTF8(t *testing.T) {
	f := newFixture(t,
		jobs.Definition{Name: "raw", Handler: func(_ context.Context, job *jobs.Job) error {
			job.Progress(50, "half \xff")
			job.Log.Info("line \xff")
			return job.Return(json.RawMessage("{\"a\xff\":\"\\ud800\"}"))
		}},
		jobs.Definition{Name: "fails", Handler: func(context.Context, *jobs.Job) error { return errors.New("why \xff") }},
		jobs.Definition{Name: "panics", Handler: func(context.Context, *jobs.Job) error { panic("why \xff") }},
	)
	f.work(t, machinery.Options{})
	raw := f.await(t, f.enqueue(t, jobs.NewTask{Name: "raw"}).ID, final)
	if raw.State != jobs.StateSuccess || string(raw.Result) != "{\"a\uFFFD\":\"\uFFFD\"}" || raw.Note != "half \uFFFD" {
		t.Errorf("%s %s %q %s", raw.State, raw.Result, raw.Note, raw.Error)
	}
	if log, err := f.store.Log(t.Context(), raw.ID); err != nil || !strings.Contains(log, `line \xff`) {
		t.Errorf("log %q, %v", log, err)
	}
	for _, name := range []string{"fails", "panics"} {
		got := f.await(t, f.enqueue(t, jobs.NewTask{Name: name}).ID, final)
		if got.State != jobs.StateFailed || !strings.Contains(got.Error, "why \uFFFD") || got.Failures[0].Error != got.Error {
			t.Errorf("%s: %s %q %v", name, got.State, got.Error, got.Failures)
		}
	}
}
