package server_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

var allCodings = server.Compression{Codings: []string{"zstd", "br", "gzip"}}

// pageText is a body that is worth compressing.
var pageText = strings.Repeat("<p>a page of text</p>", 100)

// page is a route that responds with pageText and the header fields.
func page(path string, header ...string) server.Route {
	return server.Route{Method: "GET", Path: path, Handler: func(ctx *fasthttp.RequestCtx) error {
		ctx.SetContentType("text/html; charset=utf-8")
		for i := 0; i < len(header); i += 2 {
			ctx.Response.Header.Set(header[i], header[i+1])
		}
		ctx.SetBodyString(pageText)
		return nil
	}}
}

// ask returns the response to a GET request with the given fields.
func ask(t *testing.T, s *site, path string, fields ...string) response {
	t.Helper()
	return askAs(t, s, "GET", path, fields...)
}

func askAs(t *testing.T, s *site, method, path string, fields ...string) response {
	t.Helper()
	var raw strings.Builder
	raw.WriteString(method + " " + path + " HTTP/1.1\r\nHost: test\r\n")
	for i := 0; i < len(fields); i += 2 {
		raw.WriteString(fields[i] + ": " + fields[i+1] + "\r\n")
	}
	c := dial(t, s)
	c.send(raw.String() + "\r\n")
	if method == http.MethodHead {
		return c.headResponse()
	}
	return c.response()
}

// content returns the body of a response without its coding.
func content(t *testing.T, r response) string {
	t.Helper()
	var plain []byte
	var err error
	switch coding := r.header.Get("Content-Encoding"); coding {
	case "":
		return r.body
	case "gzip": // by the standard library
		var z *gzip.Reader
		if z, err = gzip.NewReader(strings.NewReader(r.body)); err == nil {
			plain, err = io.ReadAll(z)
		}
	case "br":
		plain, err = fasthttp.AppendUnbrotliBytes(nil, []byte(r.body))
	case "zstd":
		plain, err = fasthttp.AppendUnzstdBytes(nil, []byte(r.body))
	default:
		t.Fatalf("content coding %q", coding)
	}
	if err != nil {
		t.Fatalf("%s: %v", r.header.Get("Content-Encoding"), err)
	}
	return string(plain)
}

func TestCompressionByAcceptEncoding(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{Compress: allCodings}, page("/page"))
	for accept, coding := range map[string]string{
		"": "", "gzip": "gzip", "br": "br", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "gzip;q=1, br;q=0.5": "gzip",
		"deflate": "", "gzip;q=0": "", "*": "zstd", "identity": "", "identity;q=1, gzip;q=0.1": "",
	} {
		got := ask(t, s, "/page", "Accept-Encoding", accept)
		if got.header.Get("Content-Encoding") != coding || content(t, got) != pageText || got.header.Get("Vary") != "Accept-Encoding" ||
			coding != "" && len(got.body) >= len(pageText)/2 {
			t.Errorf("%q: %d bytes, %v", accept, len(got.body), got.header)
		}
	}
	off := open(t, server.Options{}, page("/page"))
	if got := ask(t, off, "/page", "Accept-Encoding", "gzip"); got.body != pageText || got.header.Get("Vary") != "" {
		t.Errorf("without Compress: %v", got.header)
	}
}

// Responses that must not be compressed. Those that could be compressed for another
// client have Vary.
func TestNotCompressed(t *testing.T) {
	t.Parallel()
	text := func(path string, length int) server.Route {
		return server.Route{Method: "GET", Path: path, Handler: textHandler(strings.Repeat("x", length))}
	}
	status := func(code int) server.Route {
		r := page("/" + http.StatusText(code))
		r.Path, r.Handler = strings.ReplaceAll(r.Path, " ", "-"), server.Chain(r.Handler, func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				err := next(ctx)
				ctx.SetStatusCode(code)
				return err
			}
		})
		return r
	}
	noise := server.Route{Method: "GET", Path: "/noise", Handler: func(ctx *fasthttp.RequestCtx) error {
		ctx.SetContentType("text/plain")
		for i, state := 0, uint32(1); i < 2000; i++ {
			state = state*1664525 + 1013904223
			ctx.Response.AppendBody([]byte{byte(state >> 24)})
		}
		return nil
	}}
	s := open(t, server.Options{Compress: server.Compression{Codings: []string{"gzip"}, MaxBody: 50_000}, Logger: nil},
		text("/1023", 1023), text("/1024", 1024), text("/50000", 50_000), text("/50001", 50_001), noise,
		page("/encoded", "Content-Encoding", "br"), page("/transform", "Cache-Control", "private, No-Transform"), page("/part", "Content-Range", "bytes 0-9/20"),
		page("/ranges", "Accept-Ranges", "bytes"), page("/digest", "Repr-Digest", "sha-256=:x:"), page("/image", "Content-Type", "image/png"),
		page("/events", "Content-Type", server.EventStream),
		status(204), status(206), status(404),
		server.Route{Method: "GET", Path: "/stream", Handler: func(ctx *fasthttp.RequestCtx) error {
			ctx.SetBodyStream(strings.NewReader(pageText), len(pageText))
			return nil
		}},
		server.Route{Method: "GET", Path: "/nethttp", Handler: server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, pageText+pageText+pageText)
		}))},
		server.Route{Method: "GET", Path: "/nethttp/short", Handler: server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, pageText)
		}))},
		server.Route{Method: "GET", Path: "/error", Handler: func(*fasthttp.RequestCtx) error { return server.Fail(400, pageText) }},
	)
	for path, want := range map[string]struct{ coding, vary string }{
		"/1023": {"", ""}, "/1024": {"gzip", "Accept-Encoding"}, "/50000": {"gzip", "Accept-Encoding"}, "/50001": {"", ""},
		"/noise": {"", "Accept-Encoding"}, "/transform": {"", ""}, "/part": {"", ""}, "/ranges": {"", ""}, "/digest": {"", ""}, "/image": {"", ""},
		"/events": {"", ""}, "/No-Content": {"", ""}, "/Partial-Content": {"", ""}, "/Not-Found": {"gzip", "Accept-Encoding"}, "/stream": {"", ""},
		"/nethttp": {"", ""}, "/nethttp/short": {"gzip", "Accept-Encoding"}, "/error": {"gzip", "Accept-Encoding"}, "/nothing": {"", ""},
	} {
		got := ask(t, s, path, "Accept-Encoding", "gzip")
		if got.header.Get("Content-Encoding") != want.coding || got.header.Get("Vary") != want.vary {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		if plain := ask(t, s, path); plain.header.Get("Vary") != want.vary || content(t, got) != plain.body {
			t.Errorf("%s: content differs from the uncompressed one: %v", path, plain.header)
		}
	}
	if got := ask(t, s, "/encoded", "Accept-Encoding", "gzip"); got.body != pageText || got.header.Get("Content-Encoding") != "br" {
		t.Errorf("encoded by the handler: %v", got.header)
	}
	head := askAs(t, s, "HEAD", "/1024", "Accept-Encoding", "gzip")
	if head.header.Get("Content-Encoding") != "" || head.header.Get("Content-Length") != "1024" || head.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("HEAD: %v", head.header)
	}
}

// Credentials that a browser sends by itself prevent compression, unless the route
// permits it.
func TestCompressionWithSecrets(t *testing.T) {
	t.Parallel()
	permitted := page("/permitted", "Set-Cookie", "a=b")
	permitted.Compress = true
	s := open(t, server.Options{Compress: allCodings}, page("/page"), page("/login", "Set-Cookie", "a=b"), permitted)
	for _, row := range []struct {
		path       string
		fields     []string
		compressed bool
	}{
		{"/page", nil, true},
		{"/page", []string{"Cookie", "session=secret"}, false},
		{"/page", []string{"Cookie", "malformed"}, false},
		{"/page", []string{"Authorization", "Bearer s3cret"}, false},
		{"/login", nil, false},
		{"/permitted", nil, true},
		{"/permitted", []string{"Cookie", "session=secret", "Authorization", "Bearer s3cret"}, true},
	} {
		got := ask(t, s, row.path, append(row.fields, "Accept-Encoding", "gzip")...)
		if (got.header.Get("Content-Encoding") == "gzip") != row.compressed || got.header.Get("Vary") != "Accept-Encoding" || content(t, got) != pageText {
			t.Errorf("%s %q: %v", row.path, row.fields, got.header)
		}
	}
}

// tagged responds to conditional requests as RFC 9110 says, by the implementation of
// net/http for the conditions.
func tagged(ctx *fasthttp.RequestCtx) error {
	const tag = `"v1"`
	h := &ctx.Request.Header
	ctx.Response.Header.Set("ETag", tag)
	if match := server.List(h, "If-Match"); match != "" && match != tag {
		return server.Fail(412, "changed")
	}
	if match := server.List(h, "If-None-Match"); strings.TrimPrefix(match, "W/") == tag {
		ctx.SetStatusCode(304)
		return nil
	}
	ctx.SetContentType("text/html")
	ctx.SetBodyString(pageText)
	return nil
}

func TestCompressionAndETags(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{Compress: allCodings},
		server.Route{Method: "GET", Path: "/look", Handler: tagged},
		server.Route{Method: "GET", Path: "/edit/{id}", Handler: tagged}, server.Route{Method: "PUT", Path: "/edit/{name}", Handler: tagged},
		server.Route{Method: "GET", Path: "/chosen", Handler: tagged, Compress: true}, server.Route{Method: "DELETE", Path: "/chosen", Handler: tagged},
		page("/weak", "ETag", `W/"v1"`))
	for _, row := range []struct {
		method, path string
		fields       []string
		status       int
		coding, tag  string
	}{
		{"GET", "/look", nil, 200, "", `"v1"`},
		{"GET", "/look", []string{"Accept-Encoding", "gzip"}, 200, "gzip", `W/"v1"`},
		{"GET", "/look", []string{"Accept-Encoding", "gzip", "If-None-Match", `W/"v1"`}, 304, "", `W/"v1"`},
		{"GET", "/look", []string{"Accept-Encoding", "gzip", "If-None-Match", `W/"v0"`}, 200, "gzip", `W/"v1"`},
		{"GET", "/look", []string{"If-None-Match", `"v1"`}, 304, "", `"v1"`}, // it has the uncompressed one
		{"GET", "/look", []string{"Accept-Encoding", "gzip", "If-Match", `"v1"`}, 200, "gzip", `W/"v1"`},
		{"GET", "/weak", []string{"Accept-Encoding", "gzip"}, 200, "gzip", `W/"v1"`},
		// A client that edits gets a tag that If-Match finds.
		{"GET", "/edit/1", []string{"Accept-Encoding", "gzip"}, 200, "", `"v1"`},
		{"PUT", "/edit/1", []string{"If-Match", `"v1"`, "Content-Length", "0"}, 200, "", `"v1"`},
		{"PUT", "/edit/1", []string{"If-Match", `W/"v1"`, "Content-Length", "0"}, 412, "", ""},
		{"GET", "/chosen", []string{"Accept-Encoding", "gzip"}, 200, "gzip", `W/"v1"`},
	} {
		got := askAs(t, s, row.method, row.path, row.fields...)
		if got.status != row.status || got.header.Get("Content-Encoding") != row.coding || got.header.Get("ETag") != row.tag {
			t.Errorf("%s %s %q: %d %v", row.method, row.path, row.fields, got.status, got.header)
		}
		if vary := got.header.Get("Vary"); row.status < 400 && vary != "Accept-Encoding" {
			t.Errorf("%s %s %q: Vary %q", row.method, row.path, row.fields, vary)
		}
	}
}

// Vary names all fields on which a response depends, once.
func TestCompressionAndVary(t *testing.T) {
	t.Parallel()
	origins, err := server.ParseOrigins([]string{"https://app.example"})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, server.Options{Compress: allCodings, Origins: origins},
		page("/page"), page("/language", "Vary", "Accept-Language"), page("/both", "Vary", "accept-encoding, Origin"), page("/all", "Vary", "*"))
	for path, want := range map[string]string{
		"/page": "Origin, Accept-Encoding", "/language": "Accept-Language, Origin, Accept-Encoding", "/both": "accept-encoding, Origin", "/all": "*",
	} {
		got := ask(t, s, path, "Accept-Encoding", "gzip", "Origin", "https://app.example")
		if vary := strings.Join(got.header.Values("Vary"), "|"); vary != want || got.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %q %v", path, vary, got.header)
		}
	}
}

// Go's client asks for gzip and decodes it, and the connection is used again.
func TestCompressionForGoClients(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{Compress: allCodings}, page("/page"))
	for range 3 {
		resp, err := http.Get("http://" + s.addr + "/page")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != pageText || !resp.Uncompressed {
			t.Errorf("%v: %v", resp, err)
		}
	}
}

func TestCompressionOptions(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]server.Compression{
		`coding "deflate" is not one of`: {Codings: []string{"gzip", "deflate"}},
		"level 10 is not between":        {Codings: []string{"gzip"}, Level: 10},
		"level -1 is not between":        {Codings: []string{"gzip"}, Level: -1},
		"the longest body has -1 bytes":  {Codings: []string{"gzip"}, MaxBody: -1},
	} {
		if _, err := server.New(server.Options{Compress: o}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	var sizes [2]int
	for i, level := range []int{1, 9} {
		s := open(t, server.Options{Compress: server.Compression{Codings: []string{"gzip"}, Level: level}}, server.Route{Method: "GET", Path: "/x", Handler: func(ctx *fasthttp.RequestCtx) error {
			var b bytes.Buffer
			for n := range 20_000 {
				b.WriteString(strings.Repeat("ab", n*n%7) + "c")
			}
			ctx.SetContentType("text/plain")
			ctx.SetBody(b.Bytes())
			return nil
		}})
		sizes[i] = len(ask(t, s, "/x", "Accept-Encoding", "gzip").body)
	}
	if sizes[0] <= sizes[1] {
		t.Errorf("%d bytes with level 1, %d with level 9", sizes[0], sizes[1])
	}
}
