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

// kept is the number of messages that the channel of an overrunTest keeps.
const kept = 3

// overrunTest is a channel whose ring drops messages before a new subscriber gets them.
type overrunTest struct {
	bus   *realtime.Bus
	count realtime.Counters
	log   testutil.LogBuffer
	first uint64          // number of the last message before those of the test
	live  *websocket.Conn // subscriber that reads everything
}

// newOverrunTest fills a channel, so that its first message is the oldest one that is kept.
func newOverrunTest(t *testing.T) *overrunTest {
	t.Helper()
	o := new(overrunTest)
	o.bus = startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{History: kept, Meter: &o.count})
	o.live = dial(t, o.open(t, subscribeHandler(o.bus, realtime.Start{Channel: "a"})))
	o.first, _ = readPosition(t, o.live)
	o.publish(t, 1, kept)
	return o
}

// open opens a site with the counters and the log of o.
func (o *overrunTest) open(t *testing.T, handler func() realtime.Handler, more ...func(*realtime.Hub) server.Route) *site {
	t.Helper()
	return open(t, realtime.Options{Meter: &o.count, Logger: slog.New(slog.NewTextHandler(&o.log, nil))}, handler, more...)
}

// publish publishes the messages with numbers from to to, and waits until they are in the
// ring of this process: the live subscriber has received them from it.
func (o *overrunTest) publish(t *testing.T, from, to uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		publish(t, o.bus, "a", fmt.Sprint("m", i))
		wantText(t, o.live, o.message(i))
	}
}

func (o *overrunTest) message(i uint64) string { return fmt.Sprintf("%d m%d", o.first+i, i) }

// start returns the position before the first message.
func (o *overrunTest) start() realtime.Start {
	return realtime.Start{Channel: "a", Resume: true, Since: o.first}
}

// wants returns what a subscriber at the position of start must get if the messages up to
// number last were published before it got any: its position, a gap, and the messages that
// are kept.
func (o *overrunTest) wants(last uint64) []string {
	all := []string{fmt.Sprintf("%d false", o.first), fmt.Sprintf("gap %d", o.first+last-kept)}
	for i := last - kept + 1; i <= last; i++ {
		all = append(all, o.message(i))
	}
	return all
}

// notSlow checks that one gap and no slow consumer was counted and logged.
func (o *overrunTest) notSlow(t *testing.T) {
	t.Helper()
	if s := o.count.Stats(); s.Gaps[realtime.GapClient] != 1 || s.TooSlow != [3]uint64{} {
		t.Errorf("gaps %v, too slow %v", s.Gaps, s.TooSlow)
	}
	if strings.Contains(o.log.String(), "slow consumer") {
		t.Errorf("log: %s", &o.log)
	}
}

// The ring drops messages between the subscription and the first write. The client
// gets the gap and continues with the oldest kept message.
func TestOverrunBeforeFirstWrite(t *testing.T) {
	t.Parallel()
	t.Run("websocket", func(t *testing.T) {
		t.Parallel()
		o := newOverrunTest(t)
		handler := func() realtime.Handler {
			return &events{open: func(c *realtime.Conn) {
				err := c.Subscribe(context.Background(), o.bus, o.start(), fullForm, func(p realtime.Position) []byte {
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
		o := newOverrunTest(t)
		lined := &realtime.Form{Encode: func(e realtime.Event) []byte { return append(fullForm.Encode(e), '\n') }}
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
