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
	longLived   = desc("gale_realtime_connections", "Connections that live long and are open now.", "kind")
	received    = desc("gale_realtime_messages_received_total", "Messages of clients of WebSockets.")
	sent        = desc("gale_realtime_messages_sent_total", "Messages that were written to clients; signs of life are none.", "kind")
	tooSlow     = desc("gale_realtime_too_slow_total", "Clients that were closed since they made no room for -ws-send-timeout.", "kind")
	gaps        = desc("gale_channel_gaps_total", "Gaps in channels: messages were lost to a process and all its subscribers, or to one client that was further behind than its channel keeps.", "lost_to")
	lost        = desc("gale_channel_subscriptions_lost_total", "Times that Redis, which brings the messages of channels, went away.")
	connRefused = desc("gale_connections_refused_total", "Connections that were one too many for a limit.", "limit")
	limited     = desc("gale_limit_requests_total", "Requests whose rate is limited, by what became of them.", "outcome")
	cached      = desc("gale_cache_requests_total", "Questions to the cache, by what became of them.", "outcome")
)

type realtimeCollector struct{ counters *realtime.Counters }

// Describe says nothing, see poolCollector.
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

// Refused counts connections over a limit. The zero value is ready.
type Refused struct{ server, client atomic.Uint64 }

// ConnRefused is that of server.Meter.
func (r *Refused) ConnRefused(over server.Limit) {
	if over == server.LimitPerClient {
		r.client.Add(1)
	} else {
		r.server.Add(1)
	}
}

// Describe says nothing, see poolCollector.
func (*Refused) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *Refused) Collect(ch chan<- prometheus.Metric) {
	counter(ch, connRefused, r.server.Load(), "server")
	counter(ch, connRefused, r.client.Load(), "client")
}

type limitCollector struct{ *limit.Counters }

// Describe says nothing, see poolCollector.
func (limitCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (l limitCollector) Collect(ch chan<- prometheus.Metric) {
	counter(ch, limited, l.Granted.Load(), "granted")
	counter(ch, limited, l.Refused.Load(), "refused")
	counter(ch, limited, l.Errors.Load(), "unanswered")
}

type cacheCollector struct{ *cache.Counters }

// Describe says nothing, see poolCollector.
func (cacheCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c cacheCollector) Collect(ch chan<- prometheus.Metric) {
	counter(ch, cached, c.Hits.Load(), "hit")
	counter(ch, cached, c.Misses.Load(), "miss")
	counter(ch, cached, c.Errors.Load(), "error")
}
