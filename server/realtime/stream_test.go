package realtime_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// waits is a site at whose /wait streams wait for their end.
func waits(t *testing.T) *site {
	t.Helper()
	return open(t, realtime.Options{}, echoes, func(h *realtime.Hub) server.Route {
		return server.Route{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			return h.Stream(ctx, realtime.LongPoll, func(s *realtime.Stream) error {
				s.SetDrainMessage([]byte(" goodbye"))
				s.After(time.Hour, func() { t.Error("an hour is over") })
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

// That a client has left is noticed, though nothing is read from it and nothing
// is to be written.
func TestStreamClientLeaves(t *testing.T) {
	t.Parallel()
	s := waits(t)
	staying, leaving := get(t, s), get(t, s)
	leaving.Body.Close()
	testutil.Eventually(t, "it is noticed", func() bool { return s.hub.Len() == 1 })
	s.stop()
	if rest, err := io.ReadAll(staying.Body); err != nil || string(rest) != " goodbye" {
		t.Errorf("at the end: %q, %v", rest, err)
	}
	s.ended(t)
}

// The process begins to shut down while a stream is being opened. Its client gets a
// complete response, not a closed connection.
func TestStreamOpensDuringDrain(t *testing.T) {
	t.Parallel()
	var s *site
	s = open(t, realtime.Options{}, echoes, func(h *realtime.Hub) server.Route {
		return server.Route{Method: "GET", Path: "/wait", Handler: func(ctx *fasthttp.RequestCtx) error {
			return h.Stream(ctx, realtime.EventStream, func(stream *realtime.Stream) error {
				stream.SetDrainMessage([]byte("goodbye"))
				s.stop()
				err := <-s.done // it has left
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
