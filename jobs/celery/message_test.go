package celery

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

// envelopeOf returns a message with headers and a body.
func envelopeOf(headers, body string) string {
	return `{"body":"` + base64.StdEncoding.EncodeToString([]byte(body)) + `","content-type":"application/json","content-encoding":"utf-8","headers":` + headers +
		`,"properties":{"body_encoding":"base64","delivery_info":{"exchange":"","routing_key":"celery"}}}`
}

// The parser never panics. What it accepts has valid ids, each with an entry.
func FuzzMessage(f *testing.F) {
	f.Add(`{"task":"a","id":"1","eta":"2026-11-29T20:52:42.953701+00:00","expires":"2026-11-30T00:00:00","timelimit":[9,null],"x":1}`, `[[1],{"z":3},{"callbacks":null,"chain":null}]`)
	f.Add(`{"task":"a","id":"1","group":"g","group_index":1}`, `[[],{},{"chord":{"task":"sum"}}]`)
	f.Add(`{"task":"a","id":"1"}`, `[[],{},{"chain":[{"task":"c"},{"task":"celery.chord","kwargs":{"header":{"task":"celery.group","kwargs":{"tasks":[{"task":"b"}]}},"body":{"task":"d"}}}]}]`)
	f.Add(`{"task":"a","id":"1"}`, `[[],{},{"callbacks":[{"task":"celery.chain","kwargs":{"tasks":[{"task":"b"},{"task":"c","options":{"link":[{"task":"d"}]}}]}}],"errbacks":[{"task":"e"}]}]`)
	f.Add(`{"task":"a","id":"1"}`, `[[NaN],{},{}]`)
	f.Add(`{"task":"a","id":"1","compression":"application/x-gzip"}`, "x\x9c\x8b\x8e6\xd4Q0\x8a\xd5Q")
	f.Add(`null`, `null`)
	f.Fuzz(func(t *testing.T, headers, body string) {
		m, err := parseMessage(envelopeOf(headers, body))
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		if m.entries[m.task.ID] == nil || m.task.Name == "" {
			t.Errorf("%+v", m.task)
		}
		for id, e := range m.entries {
			if !jobs.ValidID(id) || e.Task == "" || (len(e.After) == 0) != (id == m.task.ID) {
				t.Errorf("%s: %+v", id, e)
			}
		}
		if _, err := json.Marshal(m.task); err != nil {
			t.Error(err)
		}
	})
}

// The result of a failed task has the type and module of the exception.
func TestExceptions(t *testing.T) {
	for reason, want := range map[string]exception{
		"ValueError: no":                   {"ValueError", []string{"no"}, "builtins"},
		"shop.errors.PaymentError: no\nat": {"PaymentError", []string{"no"}, "shop.errors"},
		"KeyError: ":                       {"KeyError", []string{""}, "builtins"},
		"open file: no such file":          {"Exception", []string{"open file: no such file"}, "builtins"},
		"Error":                            {"Exception", []string{"Error"}, "builtins"},
	} {
		got := outcome{state: stateFailure, reason: reason}.exception()
		if got.Type != want.Type || got.Module != want.Module || strings.Join(got.Message, "|") != strings.Join(want.Message, "|") {
			t.Errorf("%q: %+v, want %+v", reason, got, want)
		}
	}
	for state, want := range map[jobs.State]string{
		jobs.StateDead: "FAILURE WorkerLostError billiard.exceptions", jobs.StateCancelled: "REVOKED TaskRevokedError celery.exceptions",
		jobs.StateFailed: "FAILURE Exception builtins",
	} {
		o := outcomeOf(&jobs.Task{State: state, Error: "why"})
		if e := o.exception(); o.state+" "+e.Type+" "+e.Module != want {
			t.Errorf("%s: %s %+v, want %s", state, o.state, e, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-11-29T20:52:42.5+00:00": time.Date(2026, 11, 29, 20, 52, 42, 5e8, time.UTC),
		"2026-11-29T20:52:42":         time.Date(2026, 11, 29, 20, 52, 42, 0, time.UTC),
		"2026-11-29T20:52:42.25":      time.Date(2026, 11, 29, 20, 52, 42, 25e7, time.UTC),
		"2026-11-29T21:52:42+01:00":   time.Date(2026, 11, 29, 20, 52, 42, 0, time.UTC),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}
