package realtime_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// kept is how many messages a channel of an overtaking has room for.
const kept = 3

// overtaking is a channel whose ring moves on past a new subscriber.
type overtaking struct {
	bus   *realtime.Bus
	count realtime.Counters
	log   testutil.LogBuffer
	first uint64          // number of the last message before the test's own
	live  *websocket.Conn // subscriber that reads everything
}

// overtake fills a channel, so that a place at its beginning is at the oldest
// message that is kept.
func overtake(t *testing.T) *overtaking {
	t.Helper()
	o := new(overtaking)
	o.bus = startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{History: kept, Meter: &o.count})
	o.live = dial(t, o.open(t, subscriberOf(o.bus, realtime.Start{Channel: "a"})))
	o.first, _ = place(t, o.live)
	o.publish(t, 1, kept)
	return o
}

// open opens a site whose connections o counts.
func (o *overtaking) open(t *testing.T, handler func() realtime.Handler, more ...func(*realtime.Hub) server.Route) *site {
	t.Helper()
	return open(t, realtime.Options{Meter: &o.count, Logger: slog.New(slog.NewTextHandler(&o.log, nil))}, handler, more...)
}

// publish publishes messages m1, m2 and so on, and returns when they are in this
// process's ring: the live subscriber has read them from there.
func (o *overtaking) publish(t *testing.T, from, to uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		publish(t, o.bus, "a", fmt.Sprint("m", i))
		wantText(t, o.live, o.message(i))
	}
}

func (o *overtaking) message(i uint64) string { return fmt.Sprintf("%d m%d", o.first+i, i) }

// start is a place that is at the oldest message that is kept.
func (o *overtaking) start() realtime.Start {
	return realtime.Start{Channel: "a", Resume: true, Since: o.first}
}

// wants is what a subscriber gets that was at the place of start, when messages
// up to last have been published: its place, a gap, and what is kept.
func (o *overtaking) wants(last uint64) []string {
	all := []string{fmt.Sprintf("%d false", o.first), fmt.Sprintf("gap %d", o.first+last-kept)}
	for i := last - kept + 1; i <= last; i++ {
		all = append(all, o.message(i))
	}
	return all
}

// notSlow wants the client counted as one that lost messages, and not as slow.
func (o *overtaking) notSlow(t *testing.T) {
	t.Helper()
	if s := o.count.Stats(); s.Gaps[realtime.GapClient] != 1 || s.TooSlow != [3]uint64{} {
		t.Errorf("gaps %v, too slow %v", s.Gaps, s.TooSlow)
	}
	if strings.Contains(o.log.String(), "too slow") {
		t.Errorf("log: %s", &o.log)
	}
}

// The ring drops messages between the subscription and the first write. The client
// gets the gap and continues with the oldest kept message.
func TestOvertakenBeforeFirstWrite(t *testing.T) {
	t.Parallel()
	t.Run("websocket", func(t *testing.T) {
		t.Parallel()
		o := overtake(t)
		handler := func() realtime.Handler {
			return &events{open: func(c *realtime.Conn) {
				err := c.Subscribe(context.Background(), o.bus, o.start(), plain, func(p realtime.Position) []byte {
					o.publish(t, kept+1, 3*kept)
					return fmt.Appendf(nil, "%d %v", p.Seq, p.Gap)
				})
				if err != nil {
					t.Error(err)
				}
			}}
		}
		c := dial(t, o.open(t, handler))
		for _, want := range o.wants(3 * kept) {
			wantText(t, c, want)
		}
		o.publish(t, 3*kept+1, 3*kept+1)
		wantText(t, c, o.message(3*kept+1))
		o.notSlow(t)
	})
	t.Run("event stream", func(t *testing.T) {
		t.Parallel()
		o := overtake(t)
		lined := &realtime.Form{Encode: func(e realtime.Event) []byte { return append(plain.Encode(e), '\n') }}
		s := o.open(t, echoes, func(h *realtime.Hub) server.Route {
			return server.Route{Method: "GET", Path: "/events", Handler: func(ctx *fasthttp.RequestCtx) error {
				return h.Stream(ctx, realtime.EventStream, func(s *realtime.Stream) error {
					return s.Subscribe(ctx, o.bus, o.start(), lined, func(p realtime.Position) []byte {
						o.publish(t, kept+1, 3*kept)
						return fmt.Appendf(nil, "%d %v\n", p.Seq, p.Gap)
					})
				})
			}}
		})
		resp, err := http.Get("http://" + s.addr + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for _, want := range o.wants(3 * kept) {
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("got %q, %v; want %q", lines.Text(), lines.Err(), want)
			}
		}
		o.publish(t, 3*kept+1, 3*kept+1)
		if want := o.message(3*kept + 1); !lines.Scan() || lines.Text() != want {
			t.Errorf("got %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
		o.notSlow(t)
	})
}
