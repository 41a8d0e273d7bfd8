package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/galeserver/gale/server"
)

// Some clients do not retry after the status of a full server, so they get another
// response. An EventSource gets a stream with a delay for its reconnect. A tus client gets
// a 503 even if its own limit, which has the status 429, was reached.
func TestMaxConnsClientsThatGiveUp(t *testing.T) {
	t.Parallel()
	head := func(fields string) string { return "GET / HTTP/1.1\r\nHost: test\r\n" + fields + "\r\n" }
	for _, row := range []struct {
		name, request string
		options       server.Options
		status        int
	}{
		{"event source, server full", head("Accept: text/event-stream\r\n"), server.Options{MaxConns: 1}, 200},
		{"event source, client full", head("accept: text/event-stream\r\nOrigin: https://other.example\r\n"), server.Options{MaxConnsPerClient: 1}, 200},
		{"tus, server full", head("Tus-Resumable: 1.0.0\r\n"), server.Options{MaxConns: 1}, 503},
		{"tus, client full", head("Tus-Resumable: 1.0.0\r\n"), server.Options{MaxConnsPerClient: 1}, 503},
		{"browser, client full", head("Accept: text/html,*/*\r\n"), server.Options{MaxConnsPerClient: 1}, 429},
		{"no HTTP, client full", "\r\n:\r\n\r\n", server.Options{MaxConnsPerClient: 1}, 429},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, row.options)
			first := dial(t, s)
			first.send(get("/"))
			first.response()
			c := dial(t, s)
			c.send(row.request)
			got := c.response()
			if got.status != row.status || !got.close {
				t.Fatalf("got %+v", got)
			}
			if row.status != 200 {
				if got.header.Get("Retry-After") == "" {
					t.Errorf("got %+v", got)
				}
				return
			}
			if got.header.Get("Content-Type") != server.EventStream || got.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("header %v", got.header)
			}
			retryOf(t, got.body)
		})
	}
}

// The delays of different clients differ.
func TestReconnectDelay(t *testing.T) {
	t.Parallel()
	seen := make(map[int]bool)
	for range 100 {
		seen[retryOf(t, string(server.RetryStream("a reason")))] = true
	}
	if len(seen) < 50 { // of 4,000: that so few differ does not happen
		t.Errorf("%d different times of 100", len(seen))
	}
}

// retryOf checks that the stream contains only the delay before the reconnect, and
// returns that delay in milliseconds.
func retryOf(t *testing.T, body string) (ms int) {
	t.Helper()
	comment, rest, _ := strings.Cut(body, "\n")
	if n, err := fmt.Sscanf(rest, "retry: %d\n\n", &ms); n != 1 || err != nil || ms < 1000 || ms >= 5000 || !strings.HasPrefix(comment, ": ") {
		t.Errorf("body %q", body)
	}
	return ms
}
