package server_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Options.Header is in every response, whoever makes it, and a handler or route has
// precedence.
func TestHeaderOfEveryResponse(t *testing.T) {
	t.Parallel()
	own := page("/own", "Content-Security-Policy", "default-src 'none'")
	own.Header = [][2]string{{"X-Frame-Options", "SAMEORIGIN"}, {"permissions-policy", "camera=()"}}
	s := open(t, server.Options{
		Header: [][2]string{
			{"content-security-policy", "default-src 'self'"}, {"Cross-Origin-Opener-Policy", "same-origin"}, {"Referrer-Policy", "no-referrer"},
			{"Strict-Transport-Security", "max-age=31536000"}, {"Permissions-Policy", "geolocation=()"},
		},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}, own, server.Route{Method: "GET", Path: "/taken", Header: [][2]string{{"X-Frame-Options", "SAMEORIGIN"}, {"X-Own", "yes"}}, Handler: func(ctx *fasthttp.RequestCtx) error {
		head, _ := server.Head(ctx)
		return server.Take(ctx, func(t *server.Taken) {
			_, _ = t.Write(append(head, "0\r\n\r\n"...))
			_ = t.Close()
		})
	}})
	for _, row := range []struct {
		raw    string
		status int
	}{
		{get("/"), 200}, {get("/nothing"), 404}, {post("/", ""), 405}, {post("/limited", strings.Repeat("x", 1001)), 413},
		{"nonsense\r\n\r\n", 400}, {post("/panic", ""), 500}, {get("/" + strings.Repeat("x", 9000)), 431},
		{"OPTIONS / HTTP/1.1\r\nHost: test\r\n\r\n", 204},
	} {
		got := talk(t, s, row.raw)[0]
		h := got.header
		if got.status != row.status || h.Get("Content-Security-Policy") != "default-src 'self'" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("Permissions-Policy") != "geolocation=()" ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%.40q: %d %v", row.raw, got.status, h)
		}
	}
	h := ask(t, s, "/own").header
	if h.Get("Content-Security-Policy") != "default-src 'none'" || h.Get("X-Frame-Options") != "SAMEORIGIN" || h.Get("Permissions-Policy") != "camera=()" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("own fields: %v", h)
	}
	if h := ask(t, s, "/taken").header; h.Get("Content-Security-Policy") != "default-src 'self'" || h.Get("X-Frame-Options") != "SAMEORIGIN" || h.Get("X-Own") != "yes" {
		t.Errorf("a connection that was taken: %v", h)
	}
	for name, values := range h {
		if len(values) > 1 {
			t.Errorf("%s occurs %d times", name, len(values))
		}
	}
	// Without TLS the field is for clients of a proxy that has TLS.
	if h := ask(t, s, "/", "X-Scheme", "https").header; h.Get("Strict-Transport-Security") != "max-age=31536000" {
		t.Errorf("over HTTPS: %v", h)
	}
}

// An empty value removes a field that is sent in any case. Refused connections get the
// fields too.
func TestHeaderRemovesAField(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{MaxConns: 1, Header: [][2]string{{"X-Frame-Options", ""}, {"Cache-Control", "no-store"}}})
	first := dial(t, s)
	first.send(get("/"))
	h := first.response().header
	if _, sent := h["X-Frame-Options"]; sent || h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", h)
	}
	refused := ask(t, s, "/")
	if refused.status != 503 || refused.header.Get("Cache-Control") != "no-store" || refused.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("over the limit: %d %v", refused.status, refused.header)
	}
}

func TestHeaderRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, value, want string }{
		{"Bad Name", "x", "not the name of a header field"},
		{"", "x", "not the name of a header field"},
		{"content-length", "1", "depends on the single response"},
		{"Set-Cookie", "a=b", "depends on the single response"},
		{"Vary", "Origin", "depends on the single response"},
		{"ETAG", `"x"`, "depends on the single response"},
		{"X-Request-ID", "x", "depends on the single response"},
		{"Access-Control-Allow-Origin", "*", "depends on the single response"},
		{"X-A", "a\r\nSet-Cookie: b=c", "control characters"},
		{"X-A", " a", "begins or ends with a space"},
		{"X-A", "", "is empty"},
		{"x-once", "again", "is repeated"},
	} {
		_, err := server.New(server.Options{Header: [][2]string{{"X-Once", "x"}, {row.name, row.value}}}, nil)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), `"`+row.name+`"`) {
			t.Errorf("%q %q: %v", row.name, row.value, err)
		}
	}
}

// A server without these options sends what it always sent: the order and the number of
// the bytes do not change.
func TestDefaultResponseBytes(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, server.Route{Method: "GET", Path: "/bytes", Handler: func(ctx *fasthttp.RequestCtx) error {
		server.WriteText(ctx, 200, pageText)
		return nil
	}})
	c := dial(t, s)
	c.send("GET /bytes HTTP/1.1\r\nHost: test\r\nX-Request-ID: my-id\r\nAccept-Encoding: gzip, br, zstd\r\nConnection: close\r\n\r\n")
	var lines []string
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
		if !strings.HasPrefix(line, "Date: ") {
			lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		}
	}
	want := "HTTP/1.1 200 OK|Server: gale|Content-Type: text/plain; charset=utf-8|Content-Length: 2100|X-Content-Type-Options: nosniff|" +
		"X-Frame-Options: DENY|Referrer-Policy: same-origin|X-Request-Id: my-id|Connection: close"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
