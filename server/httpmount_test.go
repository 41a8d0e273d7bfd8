package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// A router of net/http below a path does its own matching, redirects included.
func TestHTTPServeMux(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "item %s at %s", r.PathValue("id"), r.URL.Path)
	})
	mux.HandleFunc("POST /items", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, r.PostForm.Get("name"))
	})
	s := open(t, server.Options{}, mounted(http.StripPrefix("/m", mux).ServeHTTP)...)
	url := "http://" + s.addr + "/m"
	if resp, body := do(t, "GET", url+"/items/7", nil); resp.StatusCode != http.StatusOK || body != "item 7 at /items/7" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if resp, _ := do(t, "GET", url+"/nothing", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("unknown path: %d", resp.StatusCode)
	}
	if resp, _ := do(t, "DELETE", url+"/items/7", nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("other method: %d %v", resp.StatusCode, resp.Header)
	}
	c := dial(t, s)
	c.send("POST /m/items HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\nname=abc" + get("/"))
	if got := c.response(); got.status != 201 || got.body != "abc" {
		t.Errorf("form: %+v", got)
	}
	if got := c.response(); got.body != "hello" {
		t.Errorf("next request: %+v", got)
	}
}

// Middleware around the handler may replace its response, even one that has begun.
func TestHTTPInsideMiddleware(t *testing.T) {
	t.Parallel()
	over := make(chan error, 2)
	r := server.Route{Method: "GET", Path: "/m", Handler: server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for {
			if _, err := w.Write(make([]byte, 8192)); err != nil {
				over <- err
				return
			}
		}
	}))}
	r.Middleware = []server.Middleware{func(next server.Handler) server.Handler {
		return func(ctx *fasthttp.RequestCtx) error {
			return errors.Join(next(ctx), server.Fail(http.StatusConflict, "no"))
		}
	}}
	s := open(t, server.Options{}, r)
	for _, version := range []string{"1.1", "1.0"} {
		c := dial(t, s)
		c.send("GET /m HTTP/" + version + "\r\nHost: test\r\n\r\n")
		if got := c.response(); got.status != 409 || got.header.Get("Content-Length") != strconv.Itoa(len(got.body)) {
			t.Errorf("HTTP/%s: %+v", version, got)
		}
		if err := <-over; err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("HTTP/%s: write: %v", version, err)
		}
	}
}

// Outside of a Server, in a unit test, the adapter works on the context alone.
func TestHTTPWithoutServer(t *testing.T) {
	t.Parallel()
	h := server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		for range 3000 {
			_, _ = w.Write(data)
		}
	}))
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/x")
	ctx.Request.SetBodyString("abc")
	if err := h(&ctx); err != nil {
		t.Fatal(err)
	}
	if got := string(ctx.Response.Body()); got != strings.Repeat("abc", 3000) {
		t.Errorf("%d bytes", len(got))
	}
}
