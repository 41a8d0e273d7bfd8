package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// slowLines are the log lines of slow requests.
func slowLines(log *lines) (all []string) {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `msg="slow request"`) {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// value returns the duration with the given name in a log line.
func value(t *testing.T, line, name string) time.Duration {
	t.Helper()
	found := regexp.MustCompile(` ` + name + `=(\S+)`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("no %s in %s", name, line)
	}
	d, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pause is how long a slow phase takes at least, and slowLimit is what the server calls
// slow: it may see the beginning of a pause late.
const pause, slowLimit = 300 * time.Millisecond, 100 * time.Millisecond

// after sends the rest of a request when the server has had the first part for pause.
func after(t *testing.T, c *client, first, rest string) {
	t.Helper()
	c.send(first)
	<-time.After(pause)
	c.send(rest)
}

// The log has the time of each phase of a request.
func TestSlowRequestPhases(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		slow, route string
		run         func(c *client)
	}{
		{"head", "/", func(c *client) { after(t, c, "GET / HTTP/1.1\r\nHost: te", "st\r\n\r\n"); c.response() }},
		{"body", "/read", func(c *client) {
			after(t, c, "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab", "cd")
			c.response()
		}},
		{"body", "/read", func(c *client) { // not even the first byte arrives with the head
			after(t, c, "POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n", "abcd")
			c.response()
		}},
		{"body", "/ignore", func(c *client) { // the handler does not read it
			after(t, c, "POST /ignore HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab", "cd")
			c.response()
		}},
		{"handler", "/slow/{id}", func(c *client) { c.send(get("/slow/secret?token=secret")); c.response() }},
		{"handler", "/admit", func(c *client) { c.send(get("/admit")); c.response() }},
		{"write", "/large", func(c *client) {
			c.send(get("/large"))
			<-time.After(pause)
			c.response()
		}},
	} {
		var log lines
		s := open(t, server.Options{SlowRequest: slowLimit, Logger: log.logger(), MaxBody: 1 << 20},
			server.Route{Method: "GET", Path: "/slow/{id}", Handler: func(ctx *fasthttp.RequestCtx) error {
				<-time.After(pause)
				return textHandler("slow")(ctx)
			}},
			server.Route{Method: "GET", Path: "/admit", Handler: textHandler("admitted"), Admit: func(*fasthttp.RequestHeader) (any, error) {
				<-time.After(pause)
				return nil, nil
			}},
			server.Route{Method: "GET", Path: "/large", Handler: func(ctx *fasthttp.RequestCtx) error {
				ctx.SetBodyStream(io.LimitReader(zeros{}, 64<<20), 64<<20)
				return nil
			}})
		var line string
		testutil.Eventually(t, "a line with a slow "+row.slow, func() bool {
			row.run(dial(t, s))
			for _, line = range slowLines(&log) {
				if value(t, line, row.slow) >= slowLimit {
					return true
				}
			}
			return false
		})
		sum := value(t, line, "head") + value(t, line, "body") + value(t, line, "handler") + value(t, line, "write")
		if took := value(t, line, "duration"); sum > took {
			t.Errorf("the phases take %v of %v: %s", sum, took, line)
		}
		for _, part := range []string{"level=WARN", "request_id=", "client=127.0.0.1", "method=", "route=" + row.route, "status=200", "suppressed="} {
			if !strings.Contains(line, part) {
				t.Errorf("no %s in %s", part, line)
			}
		}
		if strings.Contains(line, "secret") {
			t.Errorf("more than the route is logged: %s", line)
		}
	}
}

// everyRequest is a limit that every request exceeds.
const everyRequest = time.Nanosecond

// The end of a response is also seen if the connection closes, if the client has sent the
// next request already, and in HTTP/1.0 with a body of unknown length.
func TestSlowRequestEnds(t *testing.T) {
	t.Parallel()
	tail := server.Route{Method: "GET", Path: "/tail", Handler: server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "end")
	}))}
	for raw, want := range map[string]string{
		"GET /hidden HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n": "method=GET route=/hidden status=200",
		getHidden + get("/"):                       "method=GET route=/hidden status=200",
		"GET /tail HTTP/1.0\r\nHost: test\r\n\r\n": "method=GET route=/tail status=200",
		get("/nothing"):                            `method=GET route="" status=404`,
		post("/panic", "x"):                        "method=POST route=/panic status=500",
		"BREW / HTTP/1.1\r\nHost: test\r\n\r\n":    `method=BREW route="" status=405`,
	} {
		var log lines
		s := open(t, server.Options{SlowRequest: everyRequest, Logger: log.logger()}, tail)
		talk(t, s, raw)
		testutil.Eventually(t, "a line", func() bool { return len(slowLines(&log)) > 0 })
		if got := slowLines(&log); len(got) > 2 || !strings.Contains(got[0], want) {
			t.Errorf("%q: %q", raw, got)
		}
	}
}

// What waits for an event is not slow, however long it takes.
func TestWaitingIsNotSlow(t *testing.T) {
	t.Parallel()
	events := server.Route{Method: "GET", Path: "/events", Handler: server.HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", server.EventStream)
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "data: x\n\n")
	}))}
	poll := server.Route{Method: "GET", Path: "/poll", Handler: func(ctx *fasthttp.RequestCtx) error {
		server.LongPoll(ctx)
		return textHandler("event")(ctx)
	}}
	take := server.Route{Method: "GET", Path: "/take", Handler: func(ctx *fasthttp.RequestCtx) error {
		return server.Take(ctx, func(t *server.Taken) {
			_, _ = io.WriteString(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_ = t.Close()
		})
	}}
	var log lines
	s := open(t, server.Options{SlowRequest: everyRequest, Logger: log.logger()}, events, poll, take)
	for _, path := range []string{"/events", "/poll", "/take"} {
		c := dial(t, s)
		c.send(get(path))
		c.response()
		_ = c.Close()
	}
	testutil.Eventually(t, "the end of all connections", func() bool { return s.meter.opened.Load() == 3 && s.meter.closed.Load() == 3 })
	if got := slowLines(&log); len(got) != 0 {
		t.Errorf("%q", got)
	}
	// The next request on such a connection is not a long poll.
	c := dial(t, s)
	c.send(get("/poll"))
	c.response()
	c.send(get("/hidden"))
	c.response()
	testutil.Eventually(t, "a line", func() bool { return len(slowLines(&log)) == 1 })
	if line := slowLines(&log)[0]; !strings.Contains(line, "route=/hidden") {
		t.Error(line)
	}
}

// If everything is slow, lines are rare, and the last one says how many are missing.
func TestSlowRequestsAreSuppressed(t *testing.T) {
	t.Parallel()
	const requests = 200
	var log lines
	s := open(t, server.Options{SlowRequest: everyRequest, Logger: log.logger()})
	c := dial(t, s)
	one := func() { c.send(get("/")); c.response() }
	for range requests {
		one()
	}
	begun := len(slowLines(&log))
	testutil.Eventually(t, "one more line", func() bool { one(); return len(slowLines(&log)) > begun })
	var suppressed, written int
	for _, line := range slowLines(&log) {
		n, err := strconv.Atoi(line[strings.LastIndex(line, "=")+1:])
		if err != nil {
			t.Fatal(err)
		}
		suppressed += n
		written++
	}
	if suppressed+written < requests || suppressed == 0 {
		t.Errorf("%d lines, %d suppressed, of more than %d", written, suppressed, requests)
	}
}

// Without the option there is no line, and levels above warn silence it.
func TestSlowRequestOff(t *testing.T) {
	t.Parallel()
	var log lines
	s := open(t, server.Options{Logger: log.logger()})
	silent := open(t, server.Options{SlowRequest: everyRequest, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
	for _, s := range []*site{s, silent} {
		talk(t, s, get("/")+get("/"))
	}
	if got := slowLines(&log); len(got) != 0 {
		t.Error(fmt.Sprint(got))
	}
}
