package metrics

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

// took returns the report of a process with a histogram. Without bounds it is a summary, as
// in an older release.
func took(t testing.TB, bounds []float64, values ...float64) []byte {
	t.Helper()
	return process(t, 0, 0, 0, tookMetric(bounds, values))
}

func tookMetric(bounds, values []float64) prometheus.Metric {
	d := desc("long_seconds", "Long.", "code")
	sum, upTo := 0.0, map[float64]uint64{}
	for _, v := range values {
		sum += v
		for _, bound := range bounds {
			if v <= bound {
				upTo[bound]++
			} else {
				upTo[bound] += 0
			}
		}
	}
	if bounds == nil {
		return prometheus.MustNewConstSummary(d, uint64(len(values)), sum, nil, "200")
	}
	return prometheus.MustNewConstHistogram(d, uint64(len(values)), sum, upTo, "200")
}

// long returns the lines of that histogram.
func long(t testing.TB, families []*dto.MetricFamily) string {
	t.Helper()
	var lines strings.Builder
	for line := range strings.Lines(text(t, families)) {
		if rest, ok := strings.CutPrefix(line, "long_seconds_"); ok {
			lines.WriteString(strings.Replace(rest, `code="200",`, "", 1))
		}
	}
	return lines.String()
}

func TestHistogramsAddUp(t *testing.T) {
	coarse, fine := []float64{1, 10}, []float64{1, 5, 10}
	for name, c := range map[string]struct {
		past, last, living []byte
		want               string
	}{
		"same bounds": {
			took(t, coarse, .5, 5), took(t, coarse, 50), took(t, coarse, .5, .5),
			"bucket{le=\"1\"} 3\nbucket{le=\"10\"} 4\nbucket{le=\"+Inf\"} 5\nsum{code=\"200\"} 56.5\ncount{code=\"200\"} 5\n",
		},
		// Values that may be larger than 5 are not counted in the bucket of 5.
		"a bound more": {
			took(t, coarse, .5, 4), took(t, fine, 4, 7), took(t, fine, 11),
			"bucket{le=\"1\"} 1\nbucket{le=\"5\"} 2\nbucket{le=\"10\"} 4\nbucket{le=\"+Inf\"} 5\nsum{code=\"200\"} 26.5\ncount{code=\"200\"} 5\n",
		},
		"a summary before": {
			took(t, nil, 1, 2), took(t, coarse, 3), took(t, coarse, 4),
			"bucket{le=\"1\"} 0\nbucket{le=\"10\"} 2\nbucket{le=\"+Inf\"} 4\nsum{code=\"200\"} 10\ncount{code=\"200\"} 4\n",
		},
		"a summary after": {
			took(t, coarse, 3), took(t, nil, 1, 2), took(t, coarse, 4),
			"bucket{le=\"1\"} 0\nbucket{le=\"10\"} 2\nbucket{le=\"+Inf\"} 4\nsum{code=\"200\"} 10\ncount{code=\"200\"} 4\n",
		},
	} {
		families, err := slotSum([][]byte{c.living}, Merge(Merge(nil, c.past), c.last))
		if got := long(t, families); err != nil || got != c.want {
			t.Errorf("%s: %v, got\n%swant\n%s", name, err, got, c.want)
		}
	}
}

// No bucket decreases when a process ends or starts, whatever bounds the processes have.
func TestHistogramsNeverFall(t *testing.T) {
	kinds := [][]float64{{1, 10}, {1, 5, 10}, {.1, 5, 100}}
	var past []byte
	before := map[float64]uint64{}
	look := func(living ...[]byte) {
		t.Helper()
		families, err := slotSum(living, past)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "long_seconds" {
				continue
			}
			for _, b := range f.Metric[0].Histogram.Bucket {
				if b.GetCumulativeCount() < before[b.GetUpperBound()] {
					t.Fatalf("le %v fell from %d to %d", b.GetUpperBound(), before[b.GetUpperBound()], b.GetCumulativeCount())
				}
				before[b.GetUpperBound()] = b.GetCumulativeCount()
			}
		}
	}
	for i := range 30 {
		bounds := kinds[i%len(kinds)]
		var values []float64
		for range 5 {
			values = append(values, rand.Float64()*20)
			look(took(t, bounds, values...))
		}
		past = Merge(past, took(t, bounds, values...))
		look()
	}
	if len(before) != 5 || before[100] < 20 {
		t.Errorf("%v", before)
	}
}

// The registry of a process has these metrics.
func TestNames(t *testing.T) {
	tasks, live, refused, limited, cached := NewTasks(), new(realtime.Counters), new(Refused), new(limit.Counters), new(cache.Counters)
	g := NewRegistry(Sources{Tasks: tasks, Realtime: live, Refused: refused, Limit: limited, Cache: cached})
	tasks.Took(meter.EventSucceeded, "inspect", 2*time.Second)
	tasks.Took(meter.EventRetried, "inspect", 2*time.Hour)
	for range 2 {
		live.Opened(realtime.LongPoll)
	}
	live.Closed(realtime.LongPoll)
	live.Opened(realtime.WebSocket)
	live.Received()
	live.Sent(realtime.EventStream)
	live.TooSlow(realtime.WebSocket)
	live.ChannelGap(realtime.GapClient)
	live.SubscriptionLost()
	refused.ConnRefused(server.LimitPerClient)
	limited.Refused.Add(1)
	cached.Hits.Add(1)
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := text(t, families)
	for _, line := range []string{
		`gale_task_duration_seconds_bucket{outcome="succeeded",task="inspect",le="1"} 0`,
		`gale_task_duration_seconds_bucket{outcome="succeeded",task="inspect",le="2.5"} 1`,
		`gale_task_duration_seconds_bucket{outcome="retried",task="inspect",le="3600"} 0`,
		`gale_task_duration_seconds_count{outcome="retried",task="inspect"} 1`,
		`gale_realtime_connections{kind="websocket"} 1`, `gale_realtime_connections{kind="event_stream"} 0`, `gale_realtime_connections{kind="long_poll"} 1`,
		`gale_realtime_messages_received_total 1`, `gale_realtime_messages_sent_total{kind="event_stream"} 1`,
		`gale_realtime_too_slow_total{kind="websocket"} 1`, `gale_realtime_too_slow_total{kind="long_poll"} 0`,
		`gale_channel_gaps_total{lost_to="client"} 1`, `gale_channel_gaps_total{lost_to="process"} 0`,
		`gale_channel_subscriptions_lost_total 1`,
		`gale_connections_refused_total{limit="client"} 1`, `gale_connections_refused_total{limit="server"} 0`,
		`gale_limit_requests_total{outcome="refused"} 1`, `gale_limit_requests_total{outcome="granted"} 0`, `gale_limit_requests_total{outcome="unanswered"} 0`,
		`gale_cache_requests_total{outcome="hit"} 1`, `gale_cache_requests_total{outcome="miss"} 0`, `gale_cache_requests_total{outcome="error"} 0`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}
