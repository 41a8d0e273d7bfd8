package uploadhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/uploads"
)

var proposal = uploads.Proposal{
	Directory: "d", Filename: "a.txt", Size: 5, Sender: uploads.Sender{Subject: "ann", Scopes: []string{"x"}},
	Metadata: map[string]string{"kind": "note"},
}

const asJSON = `{"directory":"d","filename":"a.txt","size":5,"sender":{"subject":"ann","scopes":["x"],"admin":false},"metadata":{"kind":"note"}}`

// outcome is what a hook is expected to return.
type outcome struct {
	decision uploads.Decision
	refusal  uploads.RefusalError // zero: none
	unknown  bool                 // uploads.ErrUndecided
}

func (o outcome) check(t *testing.T, d uploads.Decision, err error) {
	t.Helper()
	var refusal uploads.RefusalError
	if r, ok := errors.AsType[*uploads.RefusalError](err); ok {
		refusal = *r
	}
	if d != o.decision || refusal != o.refusal || errors.Is(err, uploads.ErrUndecided) != o.unknown || err == nil && (o.unknown || o.refusal.Status != 0) {
		t.Errorf("got %+v, %v; want %+v", d, err, o)
	}
}

func TestService(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		want   outcome
	}{
		"admitted":        {200, `{}`, outcome{}},
		"renamed":         {200, `{"directory":"e/f","filename":"b","max_size":7}`, outcome{decision: uploads.Decision{Directory: "e/f", Filename: "b", MaxSize: 7}}},
		"refused":         {403, `{"reason":"not today"}`, outcome{refusal: uploads.RefusalError{Status: 403, Reason: "not today"}}},
		"refused by text": {422, "no notes\nsecond line", outcome{refusal: uploads.RefusalError{Status: 422, Reason: "no notes"}}},
		"no reason":       {409, "", outcome{refusal: uploads.RefusalError{Status: 409, Reason: "refused"}}},
		"long reason":     {413, strings.Repeat("x", 1000), outcome{refusal: uploads.RefusalError{Status: 413, Reason: strings.Repeat("x", maxReason-3) + "…"}}},
		"no such path":    {404, "", outcome{unknown: true}},
		"no credentials":  {401, "", outcome{unknown: true}},
		"busy":            {429, "", outcome{unknown: true}},
		"redirect":        {302, "", outcome{unknown: true}},
		"error":           {500, `{}`, outcome{unknown: true}},
		"no JSON":         {200, "yes", outcome{unknown: true}},
		"empty":           {200, "", outcome{unknown: true}},
		"two objects":     {200, "{}{}", outcome{unknown: true}},
		"misspelt":        {200, `{"maxsize":1}`, outcome{unknown: true}},
		"negative":        {200, `{"max_size":-1}`, outcome{unknown: true}},
		"wrong name":      {200, `{"filename":"../b"}`, outcome{unknown: true}},
		"too long":        {200, `{"filename":"` + strings.Repeat("x", maxReply) + `"}`, outcome{unknown: true}},
	} {
		t.Run(name, func(t *testing.T) {
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != asJSON || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s %v", r.Method, body, err)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			}))
			defer service.Close()
			d, err := New(service.URL, Options{}).Decide(t.Context(), proposal)
			row.want.check(t, d, err)
		})
	}
}

// A service that cannot be reached, or does not respond in time, refuses the file.
func TestServiceAway(t *testing.T) {
	stop := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	h := New(service.URL, Options{Timeout: 50 * time.Millisecond})
	d, err := h.Decide(t.Context(), proposal)
	outcome{unknown: true}.check(t, d, err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(stop)
	service.Close()
	d, err = h.Decide(t.Context(), proposal)
	outcome{unknown: true}.check(t, d, err)
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	for name, row := range map[string]struct {
		script string
		want   outcome
	}{
		"admitted":    {`cat >/dev/null; echo '{}'`, outcome{}},
		"input":       {`[ "$(cat)" = '` + asJSON + `' ] && [ "$1 $2" = "one two" ] && echo '{"max_size":9}'`, outcome{decision: uploads.Decision{MaxSize: 9}}},
		"unread":      {`echo '{"filename":"b"}'`, outcome{decision: uploads.Decision{Filename: "b"}}},
		"refused":     {`echo '{}'; echo "not today" >&2; echo more >&2; exit 1`, outcome{refusal: uploads.RefusalError{Status: 403, Reason: "not today"}}},
		"no reason":   {`exit 1`, outcome{refusal: uploads.RefusalError{Status: 403, Reason: "refused"}}},
		"other exit":  {`echo '{}'; exit 2`, outcome{unknown: true}},
		"killed":      {`kill -9 $$`, outcome{unknown: true}},
		"no decision": {`true`, outcome{unknown: true}},
		"too much":    {`head -c 100000 /dev/zero`, outcome{unknown: true}},
		"environment": {`[ -z "$HOME" ] && echo '{}'`, outcome{}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(file, []byte("#!/bin/sh\n"+row.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			d, err := New(file+" one  two", Options{Path: os.Getenv("PATH")}).Decide(t.Context(), proposal)
			row.want.check(t, d, err)
		})
	}
}

// A program that does not end in time is killed, with the programs that it has started.
func TestProgramTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nsleep 1000 | sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := New(file, Options{Path: os.Getenv("PATH"), Timeout: 100 * time.Millisecond}).Decide(t.Context(), proposal)
	outcome{unknown: true}.check(t, d, err)
}

// A full pool refuses the file and does not run the hook.
func TestPoolFull(t *testing.T) {
	d, err := New("/bin/true", Options{Pool: full{}}).Decide(t.Context(), proposal)
	outcome{unknown: true}.check(t, d, err)
	if !errors.Is(err, pool.ErrFull) {
		t.Errorf("%v", err)
	}
}

type full struct{}

func (full) Do(context.Context, func(context.Context) error) error { return pool.ErrFull }

func TestCheck(t *testing.T) {
	path := os.Getenv("PATH")
	for target, ok := range map[string]bool{
		"http://127.0.0.1:8000/hook": true, "https://hooks.example": true, "cat -": true, "/bin/cat": true,
		"": false, " ": false, "http://": false, "no-such-program-here": false, "/no/such/program": false, "ftp://host/": false,
	} {
		if err := Check(target, path); (err == nil) != ok {
			t.Errorf("%q: %v", target, err)
		}
	}
}

// The names of the JSON are part of the interface.
func TestNames(t *testing.T) {
	text, err := json.Marshal(proposal)
	if err != nil || string(text) != asJSON {
		t.Errorf("%s, %v", text, err)
	}
}
