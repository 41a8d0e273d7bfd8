package realtime_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// openWithStream opens a site with a stream at /wait that stays open.
func openWithStream(t *testing.T) *site {
	t.Helper()
	return open(t, realtime.Options{}, echoes, func(h *realtime.Hub) server.Route {
		return server.Route{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			return h.Stream(ctx, realtime.LongPoll, func(s *realtime.Stream) error {
				s.SetDrainMessage([]byte(" goodbye"))
				s.After(time.Hour, func() { t.Error("a timer fired after the end of its stream") })
				return s.Send([]byte("hello"))
			})
		}}
	})
}

func get(t *testing.T, s *site) *http.Response {
	t.Helper()
	resp, err := http.Get("http://" + s.addr + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	hello := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, hello); err != nil || string(hello) != "hello" {
		t.Fatalf("%q, %v", hello, err)
	}
	return resp
}

// A stream ends when its client disconnects, although nothing is read from the client and
// nothing is written to it.
func TestStreamClientDisconnects(t *testing.T) {
	t.Parallel()
	s := openWithStream(t)
	first, second := get(t, s), get(t, s)
	second.Body.Close()
	testutil.Eventually(t, "the stream has ended", func() bool { return s.hub.Len() == 1 })
	s.stop()
	if rest, err := io.ReadAll(first.Body); err != nil || string(rest) != " goodbye" {
		t.Errorf("rest of the open stream: %q, %v", rest, err)
	}
	s.ended(t)
}

// If the process begins to shut down while a stream is opened, the client gets a complete
// response.
func TestStreamOpensDuringDrain(t *testing.T) {
	t.Parallel()
	var s *site
	s = open(t, realtime.Options{}, echoes, func(h *realtime.Hub) server.Route {
		return server.Route{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			return h.Stream(ctx, realtime.EventStream, func(stream *realtime.Stream) error {
				stream.SetDrainMessage([]byte("goodbye"))
				s.stop()
				err := <-s.done // Hub.Run has returned
				s.done <- err
				return err
			})
		}}
	})
	resp, err := http.Get("http://" + s.addr + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || string(body) != "goodbye" {
		t.Errorf("%d %q, %v", resp.StatusCode, body, err)
	}
}

// A stream whose queue is too full for the announcement has no subscription.
func TestStreamSubscribeWithFullQueue(t *testing.T) {
	t.Parallel()
	b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{})
	failed := make(chan error, 1)
	s := open(t, realtime.Options{Queue: 1}, echoes, func(h *realtime.Hub) server.Route {
		return server.Route{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			return h.Stream(ctx, realtime.LongPoll, func(s *realtime.Stream) error {
				if err := s.Send([]byte("hello")); err != nil {
					return err
				}
				err := s.Subscribe(ctx, b, realtime.Start{Channel: "a"}, fullForm, func(realtime.Position) []byte { return []byte("announced") })
				failed <- err
				return err
			})
		}}
	})
	resp, err := http.Get("http://" + s.addr + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-failed; err == nil {
		t.Error("Subscribe succeeded")
	}
	testutil.Eventually(t, "there are no subscribers left", func() bool { return len(b.Channels()) == 0 })
}
