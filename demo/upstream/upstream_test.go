package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "0123456789") })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "ok?a=1", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	mux.HandleFunc("/nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) })
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 2000)) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			fmt.Fprint(nc, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			nc.Close()
		}
	})
	mux.HandleFunc("/garbage", func(w http.ResponseWriter, _ *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			fmt.Fprint(nc, "SSH-2.0-OpenSSH\r\n\r\n")
			nc.Close()
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()

	for target, want := range map[string]error{
		srv.URL + "/ok": nil, srv.URL + "/here": nil,
		srv.URL + "/loop": ErrBadResponse, srv.URL + "/away": ErrBadResponse, srv.URL + "/error": ErrBadResponse, srv.URL + "/large": ErrBadResponse,
		srv.URL + "/slow": ErrTimeout, srv.URL + "/cut": ErrUnreachable, srv.URL + "/garbage": ErrUnreachable,
		"http://" + gone.Addr().String(): ErrUnreachable,
	} {
		o := Options{Timeout: time.Minute, MaxBody: 1000}
		if want == ErrTimeout {
			o.Timeout = 500 * time.Millisecond
		}
		c, err := New(target, o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Fetch(t.Context())
		if !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", target, err, want)
		}
		if want == nil && (got.Status != 200 || got.Size != 10 || got.Took <= 0) {
			t.Errorf("%s: %+v", target, got)
		}
		c.Close()
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect led to another server")
	}
	nowhere, err := New(srv.URL+"/nowhere", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nowhere.Fetch(t.Context()); !errors.Is(err, ErrBadResponse) {
		t.Errorf("a redirect without a location: %v", err)
	}
	for _, target := range []string{"", "example.com", "/path", "ftp://example.com", "http://", "http://a b/", "%"} {
		if _, err := New(target, Options{}); err == nil {
			t.Errorf("New accepted %q", target)
		}
	}
}

// If all connections are in use, a fetch waits for one until its timeout.
func TestFetchesWaitForAConnection(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		now.Add(-1)
	}))
	defer srv.Close()
	c, err := New(srv.URL, Options{MaxConns: 2, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { // ends with the response
			if _, err := c.Fetch(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range 6 {
		release <- struct{}{}
	}
	all.Wait()
	if most.Load() > 2 {
		t.Errorf("%d connections at once", most.Load())
	}
}
