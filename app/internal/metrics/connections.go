package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

var (
	longLived   = desc("gale_realtime_connections", "Open long-lived connections.", "kind")
	received    = desc("gale_realtime_messages_received_total", "Messages received from WebSocket clients.")
	sent        = desc("gale_realtime_messages_sent_total", "Messages written to clients, without pings and keep-alive comments.", "kind")
	tooSlow     = desc("gale_realtime_too_slow_total", "Slow consumers disconnected after -ws-send-timeout.", "kind")
	gaps        = desc("gale_channel_gaps_total", "Gaps in channels: messages lost by a process and all its subscribers, or by one client that was further behind than the channel's history.", "lost_to")
	lost        = desc("gale_channel_subscriptions_lost_total", "Lost subscriptions to Redis, which delivers the messages of channels.")
	connRefused = desc("gale_connections_refused_total", "Connections refused because of a limit.", "limit")
	limited     = desc("gale_limit_requests_total", "Requests to rate limiters by outcome.", "outcome")
	cached      = desc("gale_cache_requests_total", "Requests to the cache by outcome.", "outcome")
)

type realtimeCollector struct{ counters *realtime.Counters }

// Describe implements prometheus.Collector; see poolCollector.
func (realtimeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r realtimeCollector) Collect(ch chan<- prometheus.Metric) {
	s := r.counters.Stats()
	for _, k := range realtime.Kinds() {
		gauge(ch, longLived, s.Open[k], k.String())
		counter(ch, sent, s.Sent[k], k.String())
		counter(ch, tooSlow, s.TooSlow[k], k.String())
	}
	for _, l := range realtime.GapScopes() {
		counter(ch, gaps, s.Gaps[l], l.String())
	}
	counter(ch, received, s.Received)
	counter(ch, lost, s.SubscriptionsLost)
}

// Refused counts refused connections. The zero value is ready for use.
type Refused struct{ server, client atomic.Uint64 }

// ConnRefused implements server.Meter.
func (r *Refused) ConnRefused(over server.Limit) {
	if over == server.LimitPerClient {
		r.client.Add(1)
	} else {
		r.server.Add(1)
	}
}

// Describe implements prometheus.Collector; see poolCollector.
func (*Refused) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *Refused) Collect(ch chan<- prometheus.Metric) {
	counter(ch, connRefused, r.server.Load(), "server")
	counter(ch, connRefused, r.client.Load(), "client")
}

type limitCollector struct{ *limit.Counters }

// Describe implements prometheus.Collector; see poolCollector.
func (limitCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (l limitCollector) Collect(ch chan<- prometheus.Metric) {
	counter(ch, limited, l.Granted.Load(), "granted")
	counter(ch, limited, l.Refused.Load(), "refused")
	counter(ch, limited, l.Errors.Load(), "unanswered")
}

type cacheCollector struct{ *cache.Counters }

// Describe implements prometheus.Collector; see poolCollector.
func (cacheCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c cacheCollector) Collect(ch chan<- prometheus.Metric) {
	counter(ch, cached, c.Hits.Load(), "hit")
	counter(ch, cached, c.Misses.Load(), "miss")
	counter(ch, cached, c.Errors.Load(), "error")
}
