package server_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

func TestMaxConns(t *testing.T) {
	t.Parallel()
	var log lines
	s := open(t, server.Options{MaxConns: 2, Logger: log.logger()})
	one, two := dial(t, s), dial(t, s)
	for _, c := range []*client{one, two} {
		c.send(get("/"))
		c.response()
	}
	for range 3 {
		c := dial(t, s)
		c.send(post("/read", strings.Repeat("x", 32<<10))) // a client that sends before it reads
		got := c.response()
		if got.status != 503 || !got.close || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, `"code":503`) {
			t.Fatalf("got %+v", got)
		}
		c.Close()
	}
	if got := strings.Count(log.String(), "connections refused"); got == 0 || got > 3 {
		t.Errorf("log:\n%s", &log)
	}
	if ofServer, ofClient := s.meter.refused[server.LimitTotal].Load(), s.meter.refused[server.LimitPerClient].Load(); ofServer != 3 || ofClient != 0 {
		t.Errorf("counted as refused: %d by one limit, %d by the other", ofServer, ofClient)
	}
	one.send(get("/"))
	if got := one.response(); got.body != "hello" {
		t.Errorf("a connection that was there: %+v", got)
	}
	one.Close()
	testutil.Eventually(t, "the place is free again", func() bool {
		c := dial(t, s)
		defer c.Close()
		c.send(get("/"))
		return c.response().status == 200
	})
	testutil.Eventually(t, "all that were opened are closed", func() bool { return s.meter.opened.Load() == s.meter.closed.Load()+1 })
}

func TestMaxConnsPerClient(t *testing.T) {
	t.Parallel()
	s := open(t, server.Options{MaxConnsPerClient: 1})
	first := dial(t, s)
	first.send(get("/"))
	first.response()
	c := dial(t, s)
	if got := c.response(); got.status != 429 || !got.close {
		t.Fatalf("got %+v", got)
	}
	if ofServer, ofClient := s.meter.refused[server.LimitTotal].Load(), s.meter.refused[server.LimitPerClient].Load(); ofServer != 0 || ofClient != 1 {
		t.Errorf("counted as refused: %d by one limit, %d by the other", ofServer, ofClient)
	}
	first.Close()
	testutil.Eventually(t, "the place is free again", func() bool {
		c := dial(t, s)
		defer c.Close()
		c.send(get("/"))
		return c.response().status == 200
	})

	// A proxy has many clients.
	trusting := open(t, server.Options{MaxConnsPerClient: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	for range 3 {
		c := dial(t, trusting)
		c.send(get("/"))
		if got := c.response(); got.status != 200 {
			t.Errorf("got %+v", got)
		}
	}
}
