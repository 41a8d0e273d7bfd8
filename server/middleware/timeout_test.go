package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/middleware"
)

// waits waits for the end of its context and returns what outcome says.
func waits(outcome func(ctx *fasthttp.RequestCtx, cause error) error) server.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		c := server.Context(ctx)
		<-c.Done()
		return outcome(ctx, context.Cause(c))
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	short, long := middleware.Timeout(time.Millisecond), middleware.Timeout(time.Hour)
	cause := waits(func(_ *fasthttp.RequestCtx, cause error) error { return cause })
	broken := errors.New("broken")
	s := serve(t,
		route("/cause", cause, short),
		route("/wrapped", waits(func(_ *fasthttp.RequestCtx, cause error) error { return fmt.Errorf("query orders: %w", cause) }), short),
		route("/library", waits(func(*fasthttp.RequestCtx, error) error { return fmt.Errorf("read: %w", os.ErrDeadlineExceeded) }), short),
		route("/own-library", func(*fasthttp.RequestCtx) error { return fmt.Errorf("read: %w", os.ErrDeadlineExceeded) }, long),
		route("/ignored", waits(func(ctx *fasthttp.RequestCtx, _ error) error { return text("late")(ctx) }), short),
		route("/other-error", waits(func(*fasthttp.RequestCtx, error) error { return broken }), short),
		route("/outer", cause, short, long),
		route("/inner", cause, long, short),
		route("/http", server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			w.WriteHeader(http.StatusTeapot)
		})), short),
		route("/none", func(ctx *fasthttp.RequestCtx) error {
			_, bounded := server.Context(ctx).Deadline()
			return text(fmt.Sprint(bounded))(ctx)
		}, middleware.Timeout(0), middleware.Timeout(-time.Second)),
	)
	timedOut := `{"code":504,"reason":"the request timed out"}`
	internal := `{"code":500,"reason":"internal error"}`
	for path, want := range map[string]response{
		"/cause": {status: 504, body: timedOut}, "/wrapped": {status: 504, body: timedOut}, "/library": {status: 504, body: timedOut},
		"/outer": {status: 504, body: timedOut}, "/inner": {status: 504, body: timedOut},
		"/own-library": {status: 500, body: internal}, "/other-error": {status: 500, body: internal},
		"/ignored": {status: 200, body: "late"}, "/http": {status: 418}, "/none": {status: 200, body: "false"},
	} {
		got := s.get(path)
		if got.status != want.status || got.body != want.body || got.header.Get("Retry-After") != "" {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	if log := s.log.String(); !strings.Contains(log, "query orders: context deadline exceeded") || strings.Contains(log, "target=/cause") {
		t.Errorf("log:\n%s", log)
	}
}
