package server_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

// whoami responds with client, scheme and request id.
var whoami = server.Route{Method: "GET", Path: "/whoami", Handler: func(ctx *fasthttp.RequestCtx) error {
	server.WriteText(ctx, 200, server.Client(ctx).String()+" "+server.Scheme(ctx)+" "+server.RequestID(ctx))
	return nil
}}

func TestClientBehindProxies(t *testing.T) {
	t.Parallel()
	trusting := open(t, server.Options{TrustedProxies: loopback}, whoami)
	wary := open(t, server.Options{}, whoami)
	for _, row := range []struct{ name, fields, want string }{
		{"nothing said", "", "127.0.0.1 http"},
		{"real ip", "X-Real-IP: 192.0.2.1\r\n", "192.0.2.1 http"},
		{"one hop", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1 http"},
		{"right to left", "X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.1.2.3\r\n", "192.0.2.1 http"},
		{"several lines are one list", "X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For: 192.0.2.1,10.1.2.3\r\n", "192.0.2.1 http"},
		{"all trusted", "X-Forwarded-For: 10.9.9.9, 10.1.2.3\r\n", "10.9.9.9 http"},
		{"a name ends the walk", "X-Forwarded-For: unknown, 10.1.2.3\r\n", "10.1.2.3 http"},
		{"nonsense", "X-Forwarded-For: , ,\r\n", "127.0.0.1 http"},
		{"with ports", "X-Forwarded-For: 192.0.2.1:4711, 10.1.2.3:80\r\n", "192.0.2.1 http"},
		{"ipv6", "X-Forwarded-For: 2001:db8::1, [fd00::2]:443\r\n", "2001:db8::1 http"},
		{"ipv4 in ipv6", "X-Real-IP: ::ffff:192.0.2.1\r\n", "192.0.2.1 http"},
		{"zones do not count", "X-Real-IP: fe80::1%eth0\r\n", "fe80::1 http"},
		{"both agree", "X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n", "192.0.2.1 http"},
		{"both disagree", "X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.9\r\n", "127.0.0.1 http"},
		{"the real ip is a proxy", "X-Real-IP: 10.1.2.3\r\nX-Forwarded-For: 192.0.2.1, 10.1.2.3\r\n", "192.0.2.1 http"},
		{"x-scheme", "X-Scheme: https\r\n", "127.0.0.1 https"},
		{"x-forwarded-proto", "X-Forwarded-Proto: HTTPS\r\n", "127.0.0.1 https"},
		{"the nearest proxy's word", "X-Forwarded-Proto: http, https\r\n", "127.0.0.1 https"},
		{"the nearest proxy's word in a line of its own", "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", "127.0.0.1 http"},
		{"x-real-ip twice", "X-Real-IP: 192.0.2.1\r\nX-Real-IP: 192.0.2.2\r\n", "127.0.0.1 http"},
		{"x-real-ip twice beside a list", "X-Real-IP: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "127.0.0.1 http"},
		{"another scheme", "X-Scheme: gopher\r\n", "127.0.0.1 http"},
	} {
		t.Run(row.name, func(t *testing.T) {
			raw := "GET /whoami HTTP/1.1\r\nHost: test\r\n" + row.fields + "\r\n"
			if got := talk(t, trusting, raw)[0].body; !strings.HasPrefix(got, row.want+" ") {
				t.Errorf("trusted: %q, want %q", got, row.want)
			}
			if got := talk(t, wary, raw)[0].body; !strings.HasPrefix(got, "127.0.0.1 http ") {
				t.Errorf("fields of an untrusted peer were used: %q", got)
			}
		})
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	own := regexp.MustCompile(`^[a-z0-9]{12}-[a-z0-9]+$`)
	trusting := open(t, server.Options{TrustedProxies: loopback}, whoami)
	wary := open(t, server.Options{}, whoami)
	seen := map[string]bool{}
	for _, row := range []struct {
		s     *site
		id    string
		taken bool
	}{
		{trusting, "abc-DEF_1.2", true}, {trusting, strings.Repeat("x", 128), true},
		{trusting, strings.Repeat("x", 129), false}, {trusting, "a b", false}, {trusting, "a\"b", false}, {trusting, "", false},
		{wary, "abc", false},
	} {
		got := talk(t, row.s, "GET /whoami HTTP/1.1\r\nHost: test\r\nX-Request-ID: "+row.id+"\r\n\r\n")[0]
		id := got.header.Get("X-Request-Id")
		if (id == row.id) != row.taken || !row.taken && !own.MatchString(id) || !strings.HasSuffix(got.body, " "+id) || seen[id] {
			t.Errorf("sent %q, got %q and %q", row.id, id, got.body)
		}
		seen[id] = true
	}
	// Every response has an id.
	for _, raw := range []string{get("/none"), post("/panic", ""), "nonsense\r\n\r\n", get("/")} {
		if got := talk(t, wary, raw)[0]; !own.MatchString(got.header.Get("X-Request-Id")) || seen[got.header.Get("X-Request-Id")] {
			t.Errorf("%q: %v", raw, got.header)
		}
	}
}

func TestSecurityFieldsOfEveryResponse(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{})
	for _, raw := range []string{get("/"), get("/none"), post("/panic", ""), post("/fail", ""), "nonsense\r\n\r\n", "OPTIONS / HTTP/1.1\r\nHost: test\r\n\r\n"} {
		h := talk(t, s, raw)[0].header
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%q: %v", raw, h)
		}
		for name, values := range h {
			if len(values) > 1 {
				t.Errorf("%q: %s occurs %d times", raw, name, len(values))
			}
		}
	}
}

// lines is a log for tests.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestAccessLog(t *testing.T) {
	t.Parallel()
	for every, want := range map[int]int{0: 0, 1: 20, 4: 5} {
		var log lines
		s := open(t, server.Options{AccessLog: every, Logger: log.logger(), TrustedProxies: loopback})
		raw := "GET /?q=1 HTTP/1.1\r\nHost: test\r\nX-Request-ID: my-id\r\nX-Real-IP: 192.0.2.7\r\nX-Scheme: https\r\n\r\n"
		talk(t, s, strings.Repeat(raw, 20))
		line := `request_id=my-id client=192.0.2.7 scheme=https method=GET target="/?q=1" status=200 bytes=5 duration=`
		if got := strings.Count(log.String(), line); got != want {
			t.Errorf("one in %d: %d lines, want %d:\n%s", every, got, want, &log)
		}
	}
	var log lines
	s := open(t, server.Options{AccessLog: 1, Logger: log.logger()})
	talk(t, s, "nonsense\r\n\r\n")
	if !strings.Contains(log.String(), "status=400") {
		t.Errorf("a request that could not be parsed is not logged:\n%s", &log)
	}
}

func TestPanicIsLoggedUnderItsID(t *testing.T) {
	t.Parallel()
	var log lines
	s := open(t, server.Options{Logger: log.logger()})
	got := talk(t, s, post("/panic", ""))[0]
	if id := got.header.Get("X-Request-Id"); got.status != 500 || strings.Contains(got.body, "disco") ||
		!strings.Contains(log.String(), "request_id="+id+" ") || !strings.Contains(log.String(), "at the disco") {
		t.Errorf("%+v\n%s", got, &log)
	}
}

// FuzzForwardedFor checks that the result is the address that the proxy has added,
// whatever the client has put in front of it.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"", "192.0.2.9", "192.0.2.9,", "[::1]:80, x", "unknown", "10.0.0.1", strings.Repeat("1", 200), ",,,"} {
		f.Add(seed)
	}
	s := open(f, server.Options{TrustedProxies: loopback}, whoami)
	f.Fuzz(func(t *testing.T, invented string) {
		if control := func(r rune) bool { return r < ' ' || r >= 0x7f }; len(invented) > 4000 || strings.ContainsFunc(invented, control) {
			return // no head could hold it
		}
		raw := "GET /whoami HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: " + invented + ", 198.51.100.77, 10.0.0.1\r\n\r\n"
		if got := talk(t, s, raw)[0].body; !strings.HasPrefix(got, "198.51.100.77 ") {
			t.Errorf("%q: %s", invented, got)
		}
	})
}
