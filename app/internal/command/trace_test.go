package command

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/tracing"
	"github.com/galeserver/gale/jobs"
)

// A command gets the span of its attempt, unless the tasks file sets the variable.
func TestTraceVariables(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := tracing.Parent{Span: parent, State: "a=b"}.Context(t.Context())
	for _, row := range []struct {
		ctx  context.Context
		env  string
		want string
	}{
		{ctx, "", parent + " a=b"},
		{tracing.Parent{Span: parent}.Context(t.Context()), "", parent + " none"},
		{t.Context(), "", "none none"},
		{ctx, `env = ["TRACEPARENT=own"]`, "own a=b"},
	} {
		spec := load(t, "[tasks.show]\nargv = [\"sh\", \"-c\", \"echo ${TRACEPARENT-none} ${TRACESTATE-none}\"]\n"+row.env)[0]
		d := Task(spec, Env{Path: "/usr/bin:/bin", Temp: t.TempDir()})
		job, err := d.Job(&jobs.Task{ID: "t", Args: []byte("[]")}, 1, slog.New(slog.DiscardHandler), nil)
		if err == nil {
			err = d.Handler(row.ctx, job)
		}
		if err != nil || !strings.Contains(string(job.Result()), `"`+row.want) {
			t.Errorf("%s, %v; want %s", job.Result(), err, row.want)
		}
	}
}
