package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// mounted returns routes that lead all methods below /m/ to a handler of net/http.
func mounted(h http.HandlerFunc) (routes []server.Route) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		routes = append(routes, server.Route{Method: method, Path: "/m/{path:*}", MaxBody: -1, Handler: server.HTTP(h)})
	}
	return routes
}

// do sends a request by the client of net/http and reads the response.
func do(t *testing.T, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	key := struct{ name string }{"key"}
	routes := mounted(func(_ http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil || string(data) != "five!" {
			t.Errorf("body %q, %v", data, err)
		}
		requests <- r
	})
	for i := range routes {
		routes[i].Middleware = []server.Middleware{func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				ctx.SetUserValue(key, "value")
				return next(ctx)
			}
		}}
	}
	s := open(t, server.Options{BasePath: "/gale", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, routes...)
	c := dial(t, s)
	fields := "Host: example.com:81\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=b; c=d\r\n"

	c.send("POST /gale/m/a%2Fb?q=%C3%A9&q=2 HTTP/1.1\r\n" + fields + "Content-Length: 5\r\n\r\nfive!")
	r := <-requests
	for what, got := range map[string][2]any{
		"Method":        {r.Method, "POST"},
		"RequestURI":    {r.RequestURI, "/gale/m/a%2Fb?q=%C3%A9&q=2"},
		"Path":          {r.URL.Path, "/m/a/b"},
		"EscapedPath":   {r.URL.EscapedPath(), "/m/a%2Fb"},
		"query":         {strings.Join(r.URL.Query()["q"], ","), "é,2"},
		"Proto":         {r.Proto, "HTTP/1.1"},
		"minor":         {r.ProtoMinor, 1},
		"Host":          {r.Host, "example.com:81"},
		"no Host field": {r.Header.Get("Host"), ""},
		"X-A":           {strings.Join(r.Header.Values("X-A"), ","), "1,2"},
		"ContentLength": {r.ContentLength, int64(5)},
		"RemoteAddr":    {r.RemoteAddr, c.LocalAddr().String()},
		"PathValue":     {r.PathValue("path"), "a/b"},
		"user value":    {r.Context().Value(key), "value"},
		"LocalAddr":     {fmt.Sprint(r.Context().Value(http.LocalAddrContextKey)), s.addr},
		"TLS":           {r.TLS == nil, true},
		"Close":         {r.Close, false},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", what, got[0], got[1])
		}
	}
	if cookie, err := r.Cookie("c"); err != nil || cookie.Value != "d" {
		t.Errorf("cookie %v, %v", cookie, err)
	}

	c.send("POST /m/x HTTP/1.1\r\n" + fields + "X-Forwarded-For: 192.0.2.7\r\nTransfer-Encoding: chunked\r\nTrailer: X-B\r\nConnection: close\r\n\r\n5\r\nfive!\r\n0\r\nX-B: 1\r\n\r\n")
	r = <-requests
	if r.ContentLength != -1 || !slices.Equal(r.TransferEncoding, []string{"chunked"}) || r.Header.Get("Transfer-Encoding") != "" {
		t.Errorf("chunked: length %d, %v, %v", r.ContentLength, r.TransferEncoding, r.Header)
	}
	if r.Trailer != nil || r.Header.Get("Trailer") != "" || !r.Close || r.RemoteAddr != "192.0.2.7:0" {
		t.Errorf("trailer %v, close %v, from %s", r.Trailer, r.Close, r.RemoteAddr)
	}
	if err := r.Context().Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("context after the handler: %v", err)
	}
}

func TestHTTPOverTLS(t *testing.T) {
	t.Parallel()
	seen := make(chan *tls.ConnectionState, 1)
	s := open(t, server.Options{TLS: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}},
		mounted(func(_ http.ResponseWriter, r *http.Request) { seen <- r.TLS })...)
	c := tls.Client(dial(t, s).Conn, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(c, get("/m/")); err != nil {
		t.Fatal(err)
	}
	if state := <-seen; state == nil || !state.HandshakeComplete {
		t.Errorf("TLS %+v", state)
	}
}

func TestHTTPResponse(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{}, mounted(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.PathValue("path") {
		case "fields":
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "1", Path: "/"})
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "2", Path: "/m"})
			h["X-Many"] = []string{"1", "2"}
			h.Set("X-Split", "a\r\nX-Injected: b")
			h.Set("Trailer", "X-Late")
			h.Set(http.TrailerPrefix+"X-Later", "1")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK)
			h.Set("X-Late", "1")
			_, _ = io.WriteString(w, "<html>")
		case "empty":
		case "none":
			h["Content-Type"] = nil
			_, _ = io.WriteString(w, "text")
		case "304":
			w.WriteHeader(http.StatusNotModified)
			if _, err := io.WriteString(w, "text"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("write after 304: %v", err)
			}
		case "more":
			h.Set("Content-Length", "3")
			if n, err := io.WriteString(w, "text"); n != 0 || !errors.Is(err, http.ErrContentLength) {
				t.Errorf("more than declared: %d, %v", n, err)
			}
			_, _ = io.WriteString(w, "tex")
		case "large":
			_, _ = w.Write(make([]byte, 100_000))
		case "pieces":
			for n := range 10_000 {
				fmt.Fprintf(w, "%d,", n)
			}
		case "close":
			h.Set("Connection", "close")
		}
	})...)
	url := "http://" + s.addr + "/m/"

	resp, body := do(t, "GET", url+"fields", nil)
	if resp.StatusCode != http.StatusTeapot || body != "<html>" || resp.ContentLength != 6 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %q, %d, %v", resp.StatusCode, body, resp.ContentLength, resp.Header)
	}
	if got := resp.Header["Set-Cookie"]; !slices.Equal(got, []string{"a=1; Path=/", "a=2; Path=/m"}) {
		t.Errorf("cookies %q", got)
	}
	if got := resp.Header["X-Many"]; !slices.Equal(got, []string{"1", "2"}) || resp.Header.Get("X-Split") != "a  X-Injected: b" {
		t.Errorf("%q, %q", got, resp.Header.Get("X-Split"))
	}
	if len(resp.Trailer) > 0 || resp.Header.Get("X-Late") != "" || resp.Header.Get("X-Injected") != "" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v, %v", resp.Trailer, resp.Header)
	}
	for path, want := range map[string]string{
		"empty": "200 0 ", "none": "200 4 ", "304": "304 0 ", "more": "200 3 text/plain; charset=utf-8",
		"large": "200 100000 application/octet-stream", "pieces": "200 48890 text/plain; charset=utf-8", "close": "200 0 ",
	} {
		resp, body := do(t, "GET", url+path, nil)
		if got := fmt.Sprint(resp.StatusCode, len(body), " ") + resp.Header.Get("Content-Type"); strings.ReplaceAll(got, "  ", " ") != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if resp.Close != (path == "close") {
			t.Errorf("%s: close is %v", path, resp.Close)
		}
	}
}

// A response to HEAD has the length of the response to GET, and no body, and the connection stays
// usable. An HTTP/1.0 client gets the body without chunks.
func TestHTTPOtherFraming(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{}, mounted(func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("path") {
		case "small":
			_, _ = io.WriteString(w, "hello")
		case "large":
			_, _ = io.WriteString(w, strings.Repeat("x", 50_000))
		case "declared":
			w.Header().Set("Content-Length", "12345")
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, strings.Repeat("y", 12345))
			}
		case "events":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			if _, err := io.WriteString(w, "more"); r.Method == http.MethodHead && err == nil {
				t.Error("a write after the response is no error")
			}
		}
	})...)
	c := dial(t, s)
	for path, length := range map[string]int64{"small": 5, "large": 50_000, "declared": 12345, "events": -1} {
		c.send("HEAD /m/" + path + " HTTP/1.1\r\nHost: test\r\n\r\n")
		resp, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodHead})
		if err != nil || resp.StatusCode != http.StatusOK || resp.ContentLength != length {
			t.Fatalf("HEAD %s: %+v, %v", path, resp, err)
		}
	}
	c.send(get("/"))
	if got := c.response(); got.body != "hello" {
		t.Errorf("after HEAD: %+v", got)
	}
	for path, size := range map[string]int{"small": 5, "large": 50_000, "declared": 12345} {
		c := dial(t, s)
		c.send("GET /m/" + path + " HTTP/1.0\r\n\r\n")
		raw, err := io.ReadAll(c.in)
		head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		if err != nil || len(body) != size || strings.Contains(strings.ToLower(head), "chunked") {
			t.Errorf("HTTP/1.0 %s: %d bytes, %v, head %s", path, len(body), err, head)
		}
	}
}

func TestHTTPPanics(t *testing.T) {
	t.Parallel()
	log := new(testutil.LogBuffer)
	s := open(t, server.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, mounted(func(w http.ResponseWriter, r *http.Request) {
		how, begun := strings.CutPrefix(r.PathValue("path"), "begun-")
		if begun {
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
		}
		switch how {
		case "abort":
			panic(http.ErrAbortHandler)
		case "short":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "part")
		case "switch":
			w.WriteHeader(http.StatusSwitchingProtocols)
		default:
			panic("at the " + how)
		}
	})...)
	for _, path := range []string{"disco", "switch"} {
		if resp, body := do(t, "GET", "http://"+s.addr+"/m/"+path, nil); resp.StatusCode != http.StatusInternalServerError || body != `{"code":500,"reason":"internal error"}` {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	log.Await(t, "at the disco")
	log.Await(t, "101 Switching Protocols needs http.Hijacker")

	c := dial(t, s)
	c.send(get("/m/abort"))
	c.closed()
	for _, path := range []string{"begun-abort", "begun-opera", "short"} {
		c := dial(t, s)
		c.send(get("/m/" + path))
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %+v, %v", path, resp, err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "part" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	log.Await(t, "at the opera")
	if strings.Contains(log.String(), http.ErrAbortHandler.Error()) {
		t.Error("an abort was logged")
	}
}

func TestHTTPController(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{}, mounted(func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		_, _, hijack := c.Hijack()
		for what, err := range map[string]error{
			"hijack": hijack, "read deadline": c.SetReadDeadline(time.Now()), "write deadline": c.SetWriteDeadline(time.Now()), "full duplex": c.EnableFullDuplex(),
		} {
			if !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := c.Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
	})...)
	if resp, _ := do(t, "GET", "http://"+s.addr+"/m/", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
