package server_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

// TestAdmitRunsOncePerRequest sends requests of every framing on one connection. Admit
// runs once for each of them, and the handler gets the value that Admit returned for its
// own request.
func TestAdmitRunsOncePerRequest(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	admit := func(h *fasthttp.RequestHeader) (any, error) {
		calls.Add(1)
		switch name := string(h.Peek("X-Name")); name {
		case "":
			return nil, nil
		case "nobody":
			return nil, server.Fail(http.StatusUnauthorized, "no such name")
		case "panic":
			panic("at the gate")
		default:
			return name, nil
		}
	}
	whoami := func(ctx *fasthttp.RequestCtx) error {
		body, err := server.ReadAll(ctx)
		if err != nil {
			return err
		}
		name, _ := server.Admitted(ctx).(string)
		server.WriteText(ctx, http.StatusOK, name+"|"+server.Param(ctx, "id")+"|"+string(body))
		return nil
	}
	s := open(t, server.Options{},
		server.Route{Method: "GET", Path: "/who/{id}", Admit: admit, Handler: whoami},
		server.Route{Method: "POST", Path: "/who/{id}", Admit: admit, Handler: whoami},
		server.Route{Method: "POST", Path: "/open/{id}", Handler: whoami})
	as := func(name, raw string) string { return strings.Replace(raw, "Host", "X-Name: "+name+"\r\nHost", 1) }

	requests := []struct{ raw, want string }{
		{as("ann", get("/who/1")), "ann|1|"},
		{as("ben", post("/who/2", "two")), "ben|2|two"},
		{get("/who/3"), "|3|"},
		{as("cat", postChunked("/who/4", "fo", "ur")), "cat|4|four"},
		{as("nobody", post("/who/5", getHidden)), `{"code":401,"reason":"no such name"}`},
		{as("nobody", get("/who/6")), `{"code":401,"reason":"no such name"}`},
		{post("/who/7", ""), "|7|"},
		{as("dan", post("/open/8", "eight")), "|8|eight"},
		{as("panic", get("/who/9")), `{"code":500,"reason":"internal error"}`},
		{as("panic", post("/who/9", getHidden)), `{"code":500,"reason":"internal error"}`},
		{as("eve", post("/who/10", "ten")), "eve|10|ten"},
	}
	var raw strings.Builder
	for _, r := range requests {
		raw.WriteString(r.raw)
	}
	got := talk(t, s, raw.String())
	if len(got) != len(requests) {
		t.Fatalf("%d responses to %d requests: %+v", len(got), len(requests), got)
	}
	for i, r := range requests {
		if got[i].body != r.want {
			t.Errorf("request %d: got %q, want %q", i+1, got[i].body, r.want)
		}
	}
	if n := calls.Load(); n != 10 { // all but /open
		t.Errorf("Admit ran %d times for 10 requests", n)
	}
	if n := s.hidden.Load(); n != 0 {
		t.Errorf("a hidden request ran %d times", n)
	}

	calls.Store(0)
	c := dial(t, s)
	c.send(as("fay", "POST /who/11 HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n"))
	if got := c.response(); got.status != http.StatusContinue {
		t.Fatalf("got %+v", got)
	}
	c.send("eleven" + post("/open/12", ""))
	if got := c.response(); got.body != "fay|11|eleven" {
		t.Errorf("got %+v", got)
	}
	if got := c.response(); got.body != "|12|" {
		t.Errorf("got %+v", got)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("Admit ran %d times for a request with Expect", n)
	}
}

// An Admission hands a value to Admitted and a user value to the handler, both of its own
// request only.
func TestAdmission(t *testing.T) {
	t.Parallel()
	type key struct{}
	s := open(t, server.Options{}, server.Route{Method: "GET", Path: "/with/{id}",
		Admit: func(h *fasthttp.RequestHeader) (any, error) {
			switch name := string(h.Peek("X-Name")); name {
			case "":
				return server.Admission{Value: "alone"}, nil
			default:
				return server.Admission{Value: name, Key: key{}, UserValue: "of " + name}, nil
			}
		},
		Handler: func(ctx *fasthttp.RequestCtx) error {
			name, _ := server.Admitted(ctx).(string)
			kept, _ := ctx.UserValue(key{}).(string)
			server.WriteText(ctx, http.StatusOK, name+"|"+kept+"|"+server.Param(ctx, "id"))
			return nil
		},
	})
	ann := strings.Replace(get("/with/1"), "Host", "X-Name: ann\r\nHost", 1)
	got := talk(t, s, ann+get("/with/2")+ann)
	for i, want := range []string{"ann|of ann|1", "alone||2", "ann|of ann|1"} {
		if i >= len(got) || got[i].body != want {
			t.Fatalf("request %d: %+v, want %q", i+1, got, want)
		}
	}
}
