package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// The context of a request ends with its cause, and never outlives the handler.
func TestContext(t *testing.T) {
	t.Parallel()
	type userKey struct{}
	contexts := make(chan context.Context, 10)
	inside := make(chan struct{})
	check := func(ctx *fasthttp.RequestCtx) error {
		ctx.SetUserValue(userKey{}, "value")
		first := server.Context(ctx)
		contexts <- first
		_, bounded := first.Deadline()
		return textHandler(fmt.Sprint(first.Value(userKey{}), " ", first.Value("name"), " ", first == server.Context(ctx), " ", bounded, " ", first.Err()))(ctx)
	}
	s := open(t, server.Options{},
		server.Route{Method: "GET", Path: "/context/{name}", Handler: check},
		server.Route{Method: "GET", Path: "/waiting", Handler: func(ctx *fasthttp.RequestCtx) error {
			c := server.Context(ctx)
			inside <- struct{}{}
			<-c.Done()
			contexts <- c
			return context.Cause(c)
		}},
		server.Route{Method: "GET", Path: "/panic", Handler: func(ctx *fasthttp.RequestCtx) error {
			server.SetDeadline(ctx, time.Now().Add(time.Hour))
			contexts <- server.Context(ctx)
			panic("after Context")
		}})

	c := dial(t, s)
	for range 2 { // the second request of a connection has its own context
		c.send(get("/context/x"))
		if got := c.response(); got.body != "value x true false <nil>" {
			t.Errorf("got %q", got.body)
		}
		if err := (<-contexts).Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("after the handler: %v", err)
		}
	}
	c.send(get("/panic"))
	if got := c.response(); got.status != http.StatusInternalServerError || (<-contexts).Err() == nil {
		t.Errorf("after a panic: %+v", got)
	}
	c.send(get("/context/y")) // the deadline was that of the request before
	if got := c.response(); got.body != "value y true false <nil>" {
		t.Errorf("got %q", got.body)
	}
	c.send(get("/waiting"))
	<-inside
	c.Close()
	for ended := range contexts {
		if cause := context.Cause(ended); errors.Is(cause, server.ErrClientGone) {
			return
		} else if !errors.Is(cause, context.Canceled) {
			t.Fatalf("cause %v", cause)
		}
	}
}

// The earliest deadline of a request counts, for each kind of context.
func TestSetDeadline(t *testing.T) {
	t.Parallel()
	soon := func() time.Time { return time.Now().Add(time.Millisecond) }
	later := func() time.Time { return time.Now().Add(time.Hour) }
	await := func(c context.Context) error {
		<-c.Done()
		return context.Cause(c)
	}
	rows := map[string]server.Handler{
		"/before": func(ctx *fasthttp.RequestCtx) error {
			server.SetDeadline(ctx, soon())
			return await(server.Context(ctx))
		},
		"/after": func(ctx *fasthttp.RequestCtx) error {
			known := server.Context(ctx)
			server.SetDeadline(ctx, soon())
			err := await(server.Context(ctx))
			if known.Err() != nil {
				t.Errorf("the context from before has ended: %v", known.Err())
			}
			return err
		},
		"/earliest": func(ctx *fasthttp.RequestCtx) error {
			server.SetDeadline(ctx, later())
			server.SetDeadline(ctx, soon())
			server.SetDeadline(ctx, later())
			return await(server.Context(ctx))
		},
		"/gone": func(ctx *fasthttp.RequestCtx) error {
			server.SetDeadline(ctx, soon())
			gone, stop := server.Gone(ctx)
			defer stop()
			return await(gone)
		},
	}
	var routes []server.Route
	for path, handler := range rows {
		routes = append(routes, server.Route{Method: "GET", Path: path, Handler: handler})
	}
	s := open(t, server.Options{}, routes...)
	c := dial(t, s)
	for path := range rows {
		c.send(get(path) + get("/"))
		if got := c.response(); got.status != http.StatusGatewayTimeout || got.body != `{"code":504,"reason":"the request timed out"}` {
			t.Errorf("%s: %+v", path, got)
		}
		if got := c.response(); got.body != "hello" {
			t.Errorf("the request after %s: %+v", path, got)
		}
	}
}

// A handler of net/http has the deadline in the context of its request, also while it
// sends the response.
func TestDeadlineOfHTTP(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	inner := server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	}))
	s := open(t, server.Options{}, server.Route{Method: "GET", Path: "/http", Handler: func(ctx *fasthttp.RequestCtx) error {
		server.SetDeadline(ctx, time.Now().Add(time.Millisecond))
		return inner(ctx)
	}})
	c := dial(t, s)
	c.send(get("/http"))
	if got := c.response(); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if err := <-causes; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cause %v", err)
	}
}

// Outside of a Server a context does not end, and has the user values.
func TestContextOutside(t *testing.T) {
	t.Parallel()
	ctx := new(fasthttp.RequestCtx)
	ctx.SetUserValue("name", "x")
	server.SetDeadline(ctx, time.Now().Add(-time.Hour))
	c := server.Context(ctx)
	if c.Err() != nil || c.Value("name") != "x" {
		t.Errorf("%v, %v", c.Err(), c.Value("name"))
	}
	gone, stop := server.Gone(ctx)
	if gone.Err() != nil {
		t.Errorf("Gone: %v", gone.Err())
	}
	if stop(); gone.Err() == nil {
		t.Error("Gone does not end with stop")
	}
}
