package http_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness"
)

// slowSite is an upstream for /fetch that responds after a delay.
func slowSite(t *testing.T, delay time.Duration) *httptest.Server {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		default:
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(up.Close)
	return up
}

var timeCost = regexp.MustCompile(`(?s)Time Cost.*<div[^>]*>(\d+\.\d+)</div>`)

func TestFetch(t *testing.T) {
	t.Parallel()
	up := slowSite(t, 300*time.Millisecond)
	g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0", "-fetch-url", up.URL+"/page")
	for _, page := range []string{"/fetch", "/fetch/blocking"} {
		resp, err := http.Get(g.URL + page)
		if err != nil {
			t.Fatal(err)
		}
		body := harness.ReadAll(t, resp)
		cost := timeCost.FindStringSubmatch(body)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Content-Security-Policy") == "" || cost == nil {
			t.Fatalf("%s: %d %v %q", page, resp.StatusCode, resp.Header, body)
		}
		if seconds, err := strconv.ParseFloat(cost[1], 64); err != nil || seconds < 0.3 {
			t.Errorf("%s: %s seconds, %v", page, cost[1], err)
		}
	}
	// More requests than the pool has goroutines fetch at the same time.
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { // ends with its response
			if code, body, err := harness.Get(g.URL + "/fetch"); code != 200 {
				t.Errorf("%d %q %v", code, body, err)
			}
		})
	}
	all.Wait()
}

func TestFetchFaults(t *testing.T) {
	t.Parallel()
	up := slowSite(t, 0)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for target, want := range map[string]struct {
		code   int
		reason string
	}{
		"":                                {404, "nothing to fetch: the server was started without -fetch-url"},
		up.URL + "/broken":                {502, "invalid response from upstream"},
		up.URL + "/away":                  {502, "invalid response from upstream"},
		"http://" + gone.Addr().String():  {502, "upstream cannot be reached"},
		"https://" + gone.Addr().String(): {502, "upstream cannot be reached"},
	} {
		g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-fetch-url", target)
		for _, page := range []string{"/fetch", "/fetch/blocking"} {
			code, body, err := harness.Get(g.URL + page)
			if code != want.code || !strings.Contains(body, want.reason) || strings.Contains(body, "127.0.0.1") {
				t.Errorf("%q%s: %d %q %v; want %d", target, page, code, body, err, want.code)
			}
		}
	}
}
