package realtime_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// event is an event of an event stream.
type event struct {
	ID    uint64
	Event string // subscribed, gap, or empty for a message
	Data  string
	Gap   bool
}

// eventSource follows an event stream as browsers do (WHATWG HTML §9.2). When the
// connection is lost it connects again, with the id of the last message. It gives up
// if the response is not an event stream with status 200.
type eventSource struct {
	url string

	mu     sync.Mutex
	all    []event
	lastID string
	retry  time.Duration
	final  string // reason for giving up; empty until then
	ended  int    // number of streams that ended, or failed to start
}

// run follows the stream until ctx ends or the client gives up.
func (s *eventSource) run(ctx context.Context) {
	s.retry = 100 * time.Millisecond
	for ctx.Err() == nil && s.connect(ctx) {
		s.mu.Lock()
		s.ended++
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(s.retry):
		}
	}
}

// connect reads one stream to its end and reports whether to connect again.
func (s *eventSource) connect(ctx context.Context) (again bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return s.giveUp(err.Error())
	}
	req.Header.Set("Accept", "text/event-stream")
	if s.lastID != "" {
		req.Header.Set("Last-Event-ID", s.lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return true
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		return s.giveUp(fmt.Sprint(resp.Status, " ", kind))
	}
	var e event
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "":
			if e.Data != "" {
				s.take(e)
			}
			e = event{}
		case "id":
			s.lastID = value
			e.ID, _ = strconv.ParseUint(value, 10, 64)
		case "event":
			e.Event = value
		case "data":
			e.Data += value
		case "retry":
			ms, _ := strconv.Atoi(value)
			s.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return true
}

func (s *eventSource) giveUp(why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = why
	return false
}

func (s *eventSource) take(e event) {
	if e.Event != "" {
		_ = json.Unmarshal([]byte(e.Data), &e) // gap
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, e)
}

// published holds the messages that a server has accepted, by number.
type published struct {
	channel string
	sent    int // number of attempts
	taken   map[uint64]string
	last    uint64
}

// publish publishes until a message is accepted. Each attempt has its own text, since
// a message may be sent although its response is an error.
func (p *published) publish(t *testing.T, g *harness.Server) {
	t.Helper()
	testutil.Eventually(t, "a message is accepted", func() bool { return p.try(t, g) == http.StatusOK })
}

// try publishes once and returns the status, or 0 without a response.
func (p *published) try(t *testing.T, g *harness.Server) (status int) {
	t.Helper()
	p.sent++
	text := fmt.Sprint("message ", p.sent)
	resp, err := http.Post(g.URL+"/publish/"+p.channel, "text/plain", strings.NewReader(text))
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode
	}
	var note struct{ Seq uint64 }
	if err := json.Unmarshal(body, &note); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if p.taken == nil {
		p.taken = make(map[uint64]string)
	}
	p.taken[note.Seq], p.last = text, note.Seq
	return http.StatusOK
}

// check checks that a client has all messages from its first one on, each once and in
// order, except in gaps that were reported.
func (p *published) check(all []event) error {
	at := uint64(math.MaxUint64) // highest number up to which each message was received or reported
	for i, e := range all {
		switch {
		case e.Event == "subscribed" && at == math.MaxUint64, e.Gap && e.ID >= at:
			at = e.ID
		case e.Event == "subscribed" && !e.Gap && e.ID == at:
		case e.Event == "" && e.ID == at+1:
			if want, known := p.taken[e.ID]; known && e.Data != want {
				return fmt.Errorf("message %d is %q, want %q", e.ID, e.Data, want)
			}
			at = e.ID
		default:
			return fmt.Errorf("event %d: %+v after number %d", i, e, at)
		}
	}
	if at < p.last {
		return fmt.Errorf("the last number is %d, want %d", at, p.last)
	}
	return nil
}

// site is a server under faults.
type site struct {
	*harness.Server
	redis     *redistest.Server // nil with the embedded state server
	published *published
	met       func(t *testing.T) // waits until each client has tried to connect during the fault
}

// fault is a fault under clients. It has ended when do returns.
type fault struct {
	name  string
	store bool // whether it needs the embedded state server
	redis bool // whether it needs Redis
	kills bool // whether it kills serving processes, and the requests they are serving
	do    func(t *testing.T, s *site)
}

// refused publishes until messages are refused because Redis is not available.
func (s *site) refused(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, "messages are refused", func() bool { return s.published.try(t, s.Server) == http.StatusServiceUnavailable })
}

// killed kills the process of a slot and waits for the next one.
func (s *site) killed(t *testing.T, slot string) {
	t.Helper()
	pid := s.Slots(t)[slot].PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, slot+" is back", func() bool {
		now := s.Slots(t)[slot]
		return now.PID != pid && now.State == "live"
	})
}

// reconnect closes the connection of every client while the fault lasts.
func (s *site) reconnect(t *testing.T) {
	t.Helper()
	s.killed(t, "serve.0")
	s.killed(t, "serve.1")
	s.met(t)
}

// faults are the faults that every client recovers from.
var faults = []fault{
	{name: "Redis restarts", redis: true, kills: true, do: func(t *testing.T, s *site) {
		s.redis.Kill()
		s.refused(t)
		s.reconnect(t)
		s.redis.Restart(t)
	}},
	{name: "Redis is stopped", redis: true, kills: true, do: func(t *testing.T, s *site) {
		before := strings.Count(s.Log.String(), "subscription lost")
		s.redis.Stop(t)
		s.refused(t)
		testutil.Eventually(t, "the subscription is lost", func() bool { return strings.Count(s.Log.String(), "subscription lost") > before })
		s.reconnect(t)
		s.redis.Continue(t)
	}},
	{name: "the state server is killed", store: true, do: func(t *testing.T, s *site) { s.killed(t, "store.0") }},
	{name: "a child is killed", kills: true, do: func(t *testing.T, s *site) {
		s.killed(t, "serve.0")
		s.published.publish(t, s.Server)
		s.killed(t, "serve.1")
	}},
	{name: "a reload", do: func(t *testing.T, s *site) {
		before := s.Slots(t)
		if err := s.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "the serve children are replaced", func() bool {
			s.published.publish(t, s.Server)
			return s.ServeSlotsReplaced(t, before)
		})
		for _, slot := range []string{"serve.0", "serve.1"} {
			testutil.Eventually(t, "the old process of "+slot+" has ended", func() bool {
				s.published.publish(t, s.Server)
				return syscall.Kill(before[slot].PID, 0) != nil
			})
		}
	}},
}

// recoverable starts a server with two serve children, with or without Redis, and
// returns the faults that apply to it.
func recoverable(t *testing.T, withRedis bool, flags ...string) (s *site, some []fault) {
	t.Helper()
	s = &site{published: &published{channel: "recover"}}
	flags = append([]string{"-procs", "2", "-workers", "0", "-broker", "sqlite", "-grace", "5s", "-on-upload", ""}, flags...)
	if withRedis {
		s.redis = redistest.Start(t)
		flags = append(flags, "-redis", s.redis.URL())
	}
	for _, f := range faults {
		if (!f.redis || withRedis) && (!f.store || !withRedis) {
			some = append(some, f)
		}
	}
	s.Server = harness.Start(t, t.TempDir(), flags...)
	return s, some
}

// A client that gives up at any status but 200 follows a channel through all faults.
// It receives every message once, except in gaps that are reported.
func TestEventSourcesRecover(t *testing.T) {
	t.Parallel()
	for name, withRedis := range map[string]bool{"redis": true, "store slot": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, some := recoverable(t, withRedis)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer running.Wait()
			defer cancel()
			sources := make([]*eventSource, 8)
			for i := range sources {
				sources[i] = &eventSource{url: s.URL + "/events/recover"}
				running.Go(func() { sources[i].run(ctx) }) // ends with ctx
			}
			for _, source := range sources {
				source.await(t, "the client has subscribed", func() bool { return len(source.all) > 0 })
			}
			s.met = func(t *testing.T) {
				before := make([]int, len(sources)) // for all clients first, since they connect at the same time
				for i, source := range sources {
					source.mu.Lock()
					before[i] = source.ended
					source.mu.Unlock()
				}
				for i, source := range sources {
					source.await(t, "the client has connected twice", func() bool { return source.ended >= before[i]+2 })
				}
			}
			for _, f := range some {
				s.published.publish(t, s.Server)
				f.do(t, s)
				s.published.publish(t, s.Server)
				for _, source := range sources {
					source.await(t, f.name+": the client has the last message", func() bool { return source.all[len(source.all)-1].ID >= s.published.last })
				}
			}
			for _, source := range sources {
				source.mu.Lock()
				if err := s.published.check(source.all); err != nil {
					t.Error(err)
				}
				source.mu.Unlock()
			}
		})
	}
}

// await waits until cond returns true. It is called with the lock of the client.
func (s *eventSource) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	testutil.Eventually(t, "a client: "+what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.final != "" {
			t.Fatalf("a client gave up: %s", s.final)
		}
		return cond()
	})
}
