package routes

import (
	"errors"
	"slices"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/server"
)

// A worker program can reach tasks, downloads and channels, but it cannot upload, and there
// are no pages and sockets.
func TestRoutesForProgram(t *testing.T) {
	var have []string
	for _, r := range ForProgram(Deps{Guard: access.New(access.Options{}), Prefix: "/-", Off: Groups}, func(string) error { return nil }) {
		have = append(have, r.Method+" "+r.Path)
	}
	for _, want := range []string{
		"POST /workers/announce", "POST /workers/lease", "POST /workers/finish", "POST /tasks", "GET /tasks/{id}", "DELETE /tasks/{id}",
		"GET /workflows/{id}", "GET /upload/{path:*}", "POST /publish/{channel}", "GET /healthz",
	} {
		if !slices.Contains(have, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, other := range []string{"PUT /upload/{path:*}", "POST /upload", "GET /upload", "GET /channels/{channel}", "GET /console", "GET /tasks/{id}/watch"} {
		if slices.Contains(have, other) {
			t.Errorf("%s is a route for programs", other)
		}
	}
}

// The session is known before the program gets it.
func TestReportSession(t *testing.T) {
	var reported []string
	refusal := errors.New("disk full")
	for _, row := range []struct {
		status   int
		body     string
		err      error
		reported []string
	}{
		{200, `{"session":"a"}`, nil, []string{"a"}},
		{400, `{"code":400}`, nil, nil},
		{200, `{"session":"b"}`, refusal, []string{"b"}},
	} {
		reported = nil
		handler := reportSession(func(ctx *fasthttp.RequestCtx) error {
			server.WriteText(ctx, row.status, row.body)
			return nil
		}, func(session string) error { reported = append(reported, session); return row.err })
		if err := handler(&fasthttp.RequestCtx{}); !errors.Is(err, row.err) || !slices.Equal(reported, row.reported) {
			t.Errorf("%d %s: reported %q, error %v", row.status, row.body, reported, err)
		}
	}
}
