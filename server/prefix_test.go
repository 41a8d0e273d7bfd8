package server_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/galeserver/gale/server"

	"github.com/valyala/fasthttp"
)

// links are routes that respond with the link to /items/1.
func links() []server.Route {
	say := func(ctx *fasthttp.RequestCtx) error {
		ctx.Response.Header.Set("Location", server.Location(ctx, "/items/1"))
		server.WriteText(ctx, 200, server.Link(ctx, "/items/1"))
		return nil
	}
	return []server.Route{{Method: "GET", Path: "/items/", Handler: say}, {Method: "GET", Path: "/links", Handler: say}, {Method: "GET", Path: "/a/b/c", Handler: say}}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	const prefix = "X-Forwarded-Prefix: "
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, row := range []struct {
		name, base, target, fields string
		trusted                    bool
		link, location             string
	}{
		{"nothing in front", "", "/links", "", true, "/items/1", "/items/1"},
		{"a base path that the proxy takes away", "/gale", "/links", "", true, "/gale/items/1", "/gale/items/1"},
		{"a base path that it keeps", "/gale", "/gale/links", "", true, "/gale/items/1", "/gale/items/1"},
		{"with a query", "/gale", "/gale/links?x=/y", "", true, "/gale/items/1", "/gale/items/1"},
		{"a proxy that says what it took away", "", "/links", prefix + "/front", true, "/front/items/1", "/front/items/1"},
		{"with a slash at the end", "", "/links", prefix + "/front/", true, "/front/items/1", "/front/items/1"},
		{"a proxy that took nothing away", "", "/links", prefix + "/\r\nX-Real-IP: 192.0.2.1", true, "/items/1", "/items/1"},
		{"both say the same", "/gale", "/links", prefix + "/gale", true, "/gale/items/1", "/gale/items/1"},
		{"a proxy in front of a base path", "/gale", "/gale/links", prefix + "/front", true, "/front/gale/items/1", "/front/gale/items/1"},
		{"a client says so", "", "/links", prefix + "/front", false, "/items/1", "/items/1"},
		{"a client says so, with a base path", "/gale", "/links", prefix + "/front", false, "/gale/items/1", "/gale/items/1"},
		{"a proxy that says nothing", "", "/links", "X-Forwarded-For: 192.0.2.1", true, "/items/1", "items/1"},
		{"another folder", "", "/a/b/c?x=/y/", "Via: 1.1 x", true, "/items/1", "../../items/1"},
		{"the same folder", "", "/items/", "X-Forwarded-Proto: https", true, "/items/1", "1"},
		{"a client that says nothing", "", "/items/", "X-Forwarded-Proto: https", false, "/items/1", "/items/1"},
		{"another host", "", "/links", prefix + "//evil.example", true, "/items/1", "/items/1"},
		{"a whole address", "", "/links", prefix + "https://evil.example", true, "/items/1", "/items/1"},
		{"a backslash", "", "/links", prefix + `/\evil.example`, true, "/items/1", "/items/1"},
		{"up and away", "", "/links", prefix + "/a/../..", true, "/items/1", "/items/1"},
		{"escaped, up and away", "", "/links", prefix + "/a/%2e%2e/b", true, "/items/1", "/items/1"},
		{"a line end in it", "", "/links", prefix + "/a%0d%0aX:y", true, "/items/1", "/items/1"},
		{"markup", "", "/links", prefix + `/a";<b>`, true, "/items/1", "/items/1"},
		{"no ASCII", "", "/links", prefix + "/ü", true, "/items/1", "/items/1"},
		{"two of them", "", "/links", prefix + "/a\r\n" + prefix + "/b", true, "/items/1", "/items/1"},
		{"too long", "", "/links", prefix + "/" + strings.Repeat("a", 300), true, "/items/1", "/items/1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := server.Options{BasePath: row.base}
			if row.trusted {
				o.TrustedProxies = proxies
			}
			fields := row.fields
			if fields != "" {
				fields += "\r\n"
			}
			got := talk(t, open(t, o, links()...), "GET "+row.target+" HTTP/1.1\r\nHost: x\r\n"+fields+"\r\n")[0]
			if got.status != 200 || got.body != row.link || got.header.Get("Location") != row.location {
				t.Errorf("%d, link %q, location %q; want %q, %q", got.status, got.body, got.header.Get("Location"), row.link, row.location)
			}
		})
	}
}

// By default nginx uses HTTP/1.0 and adds no fields.
func TestLocationBehindASilentProxy(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, links()...)
	if got := talk(t, s, "GET /items/ HTTP/1.0\r\nHost: x\r\n\r\n")[0]; got.header.Get("Location") != "1" || got.body != "/items/1" {
		t.Errorf("%+v", got)
	}
}

func TestIgnoredPrefixIsLogged(t *testing.T) {
	t.Parallel()
	var log lines
	s := open(t, server.Options{Logger: log.logger(), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, links()...)
	talk(t, s, "GET /links HTTP/1.1\r\nHost: x\r\nX-Forwarded-Prefix: //evil.example\r\n\r\n")
	if text := log.String(); !strings.Contains(text, "X-Forwarded-Prefix ignored") || !strings.Contains(text, "//evil.example") || !strings.Contains(text, "127.0.0.1") {
		t.Errorf("log:\n%s", text)
	}
}

// With a base path, requests reach their routes with and without that path. Paths that
// have no route without a base path have none with it.
func TestBasePath(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{BasePath: "/a/gale"})
	for target, want := range map[string]int{
		"/": 200, "/a/gale": 200, "/a/gale/": 200, "/a/gale?x": 200, "/a/gale/items/x/y": 200, "/items/x/y": 200, "http://x/a/gale/items/x/y": 200,
		"/a/galeitems/x/y": 404, "/a/gale//": 404, "/a/gale/../hidden": 404, "/a/gale/a/gale/": 404, "/a/": 404, "/A/gale/": 404,
	} {
		if got := talk(t, s, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")[0]; got.status != want {
			t.Errorf("%s: %+v, want %d", target, got, want)
		}
	}
	got := talk(t, s, "DELETE /a/gale/hidden HTTP/1.1\r\nHost: x\r\n\r\n")[0]
	if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("%+v", got)
	}
	for _, base := range []string{"gale", "/", "/gale/", "//gale", "/a//b", "/a/../b", "/a/./b", "/a?b", "/a b", "/a#b", "/ü", "/a%2", "/a%00", "https://x/a", "/" + strings.Repeat("a", 300)} {
		if _, err := server.New(server.Options{BasePath: base}, nil); err == nil {
			t.Errorf("base path %q is accepted", base)
		}
	}
}
