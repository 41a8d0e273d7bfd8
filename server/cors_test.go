package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

// shared are options for a server that pages of app.example may use.
func shared(t *testing.T) server.Options {
	t.Helper()
	origins, err := server.ParseOrigins([]string{"https://app.example"})
	if err != nil {
		t.Fatal(err)
	}
	return server.Options{Origins: origins, RequestFields: []string{"X-Sent"}, ResponseFields: []string{"X-Read"}}
}

// Pages of allowed origins can read every response, including errors. Pages of other
// origins cannot.
func TestResponsesForOtherOrigins(t *testing.T) {
	t.Parallel()
	refuse := func(*fasthttp.RequestHeader) (any, error) { return nil, server.Fail(401, "who are you") }
	varied := func(ctx *fasthttp.RequestCtx) error {
		ctx.Response.Header.Set("Vary", "Accept-Encoding")
		ctx.SetStatusCode(304)
		return nil
	}
	taken := func(ctx *fasthttp.RequestCtx) error {
		head, _ := server.Head(ctx)
		return server.Take(ctx, func(c *server.Taken) {
			_, _ = c.Write(append(head, "0\r\n\r\n"...))
			_ = c.Close()
		})
	}
	s := open(t, shared(t),
		server.Route{Method: "GET", Path: "/guarded", Admit: refuse, Handler: textHandler("")},
		server.Route{Method: "GET", Path: "/varied", Handler: varied},
		server.Route{Method: "GET", Path: "/taken", Handler: taken})
	for _, row := range []struct {
		name, request string // with $ where the Origin goes
		status        int
	}{
		{"a route", "GET / HTTP/1.1\r\nHost: x\r\n$\r\n", 200},
		{"OPTIONS that is no preflight", "OPTIONS / HTTP/1.1\r\nHost: x\r\n$\r\n", 204},
		{"not modified", "GET /varied HTTP/1.1\r\nHost: x\r\n$\r\n", 304},
		{"a stream", "GET /taken HTTP/1.1\r\nHost: x\r\n$\r\n", 200},
		{"no route", "GET /nothing HTTP/1.1\r\nHost: x\r\n$\r\n", 404},
		{"no such method", "DELETE / HTTP/1.1\r\nHost: x\r\n$\r\n", 405},
		{"refused by Admit", "GET /guarded HTTP/1.1\r\nHost: x\r\n$\r\n", 401},
		{"too large", "POST /limited HTTP/1.1\r\nHost: x\r\n$Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413},
		{"an error of the handler", "POST /fail HTTP/1.1\r\nHost: x\r\n$Content-Length: 0\r\n\r\n", 500},
		{"a panic", "POST /panic HTTP/1.1\r\nHost: x\r\n$Content-Length: 0\r\n\r\n", 500},
		{"a body that breaks off", "POST /read HTTP/1.1\r\nHost: x\r\n$Content-Length: 9\r\n\r\nx", 400},
		{"an unsupported version", "GET / HTTP/1.9\r\nHost: x\r\n$\r\n", 505},
		{"two ways of framing", "POST /read HTTP/1.1\r\nHost: x\r\n$Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"a space in a name", "GET / HTTP/1.1\r\nHost: x\r\n$bad name: x\r\n\r\n", 400},
	} {
		for origin, allowed := range map[string]string{"": "", "https://app.example": "https://app.example", "https://evil.example": "", "null": ""} {
			field := ""
			if origin != "" {
				field = "Origin: " + origin + "\r\n"
			}
			c := dial(t, s)
			c.send(strings.Replace(row.request, "$", field, 1))
			c.endSending()
			got := c.response()
			if got.status != row.status {
				t.Errorf("%s: %+v", row.name, got)
				continue
			}
			if got.header.Get("Access-Control-Allow-Origin") != allowed || got.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %v", row.name, origin, got.header)
			}
			if vary := got.header.Get("Vary"); vary != "Origin" && (row.status != 304 || vary != "Accept-Encoding, Origin") {
				t.Errorf("%s from %q: Vary is %q", row.name, origin, vary)
			}
			exposed := got.header.Get("Access-Control-Expose-Headers")
			if (allowed != "") != strings.Contains(exposed, "Retry-After") || (allowed != "") != strings.Contains(exposed, "X-Read") {
				t.Errorf("%s from %q exposes %q", row.name, origin, exposed)
			}
			c.Close()
		}
	}
}

// If the server cannot read a request, any page may read the response, since it contains
// no data.
func TestResponsesWithoutAnOrigin(t *testing.T) {
	t.Parallel()
	s := open(t, shared(t))
	if got := talk(t, s, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 10<<10)+"\r\n\r\n")[0]; got.status != 431 || got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a head that is too large: %+v", got)
	}
	o := shared(t)
	o.MaxConns = 1
	s = open(t, o)
	first := dial(t, s)
	first.send(get("/"))
	first.response()
	if got := dial(t, s).response(); got.status != 503 || got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("Access-Control-Expose-Headers") != "Retry-After" {
		t.Errorf("a connection too many: %+v", got)
	}
	// Without Options.Origins the response has no such fields.
	s = open(t, server.Options{MaxConns: 1})
	first = dial(t, s)
	first.send("GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n\r\n")
	for _, got := range []response{first.response(), dial(t, s).response()} {
		for name := range got.header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
				t.Errorf("%d: %s", got.status, name)
			}
		}
	}
}

// A preflight succeeds for every path, even if Admit would refuse the request, so that
// the page can read the status of the request itself.
func TestPreflight(t *testing.T) {
	t.Parallel()
	refuse := func(*fasthttp.RequestHeader) (any, error) { return nil, server.Fail(401, "who are you") }
	header := [][2]string{{"X-Always", "yes"}}
	s := open(t, shared(t),
		server.Route{Method: "PUT", Path: "/guarded", Admit: refuse, Handler: textHandler("")},
		server.Route{Method: "OPTIONS", Path: "/guarded", Admit: refuse, Header: header, Handler: textHandler("")})
	for _, row := range []struct {
		path, origin, method string
		status               int
		methods              string
	}{
		{"/", "https://app.example", "GET", 204, "GET, HEAD, OPTIONS"},
		{"/", "https://app.example", "DELETE", 204, "GET, HEAD, DELETE, OPTIONS"},
		{"/", "https://app.example", "BREW", 204, "GET, HEAD, OPTIONS, BREW"},
		{"/nothing", "https://app.example", "POST", 204, "POST"},
		{"/guarded", "https://app.example", "PUT", 204, "PUT, OPTIONS"},
		{"/read", "https://app.example", "PUT", 204, "POST, PUT, OPTIONS"},
		{"*", "https://app.example", "PUT", 204, "PUT"},
		{"/a//b", "https://app.example", "PUT", 204, "PUT"},
		{"/", "https://app.example", "A B", 400, ""},
		{"/", "https://evil.example", "GET", 204, ""},
		{"/", "null", "GET", 204, ""},
		{"/guarded", "https://evil.example", "PUT", 401, ""},
		{"/nothing", "https://evil.example", "GET", 404, ""},
		{"/", "https://app.example", "", 204, ""}, // no preflight
	} {
		asked := ""
		if row.method != "" {
			asked = "Access-Control-Request-Method: " + row.method + "\r\nAccess-Control-Request-Headers: x-sent\r\nAccess-Control-Request-Private-Network: true\r\n"
		}
		got := talk(t, s, fmt.Sprintf("OPTIONS %s HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\n%s\r\n", row.path, row.origin, asked))[0]
		if got.status != row.status || got.header.Get("Access-Control-Allow-Methods") != row.methods || got.header.Get("Vary") != "Origin" {
			t.Errorf("%+v: %+v", row, got)
		}
		allowed := row.methods != ""
		for name, want := range map[string]string{"Access-Control-Max-Age": "7200", "Access-Control-Allow-Private-Network": "true"} {
			if (got.header.Get(name) == want) != allowed {
				t.Errorf("%+v: %s is %q", row, name, got.header.Get(name))
			}
		}
		fields := got.header.Get("Access-Control-Allow-Headers")
		if strings.Contains(fields, "Authorization") != allowed || strings.HasSuffix(fields, ", X-Sent") != allowed {
			t.Errorf("%+v: fields %q", row, fields)
		}
		if row.path == "/guarded" && allowed && got.header.Get("X-Always") != "yes" {
			t.Errorf("%+v: the fields of the route are lost", row)
		}
	}
}

func TestFieldsForOtherOrigins(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a,b", "a:", "a\r\nb", "ü"} {
		if _, err := server.New(server.Options{RequestFields: []string{name}}, nil); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}
