package realtime

import "sync/atomic"

// Kind is the kind of a long-lived connection, for metrics.
type Kind int

// Values of Kind.
const (
	WebSocket Kind = iota
	EventStream
	LongPoll
	kinds // number of kinds
)

// String returns the label value of metrics.
func (k Kind) String() string { return [...]string{"websocket", "event_stream", "long_poll"}[k] }

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{WebSocket, EventStream, LongPoll} }

// Meter counts the events of connections. Its methods are called from many goroutines
// at once, for each message and with locks held, so they must not block.
type Meter interface {
	// Opened is called when a connection begins, and Closed once when it has ended.
	Opened(k Kind)
	Closed(k Kind)
	// Received is called for each complete message from a WebSocket client.
	Received()
	// Sent is called for each message after it was written to a client. Pings, close
	// frames and other keep-alive data do not count.
	Sent(k Kind)
	// TooSlow is called for each slow consumer: a client whose connection was closed
	// because it read nothing for Options.SendTimeout.
	TooSlow(k Kind)
}

// BusMeter counts the events of channels. The rules of Meter apply.
type BusMeter interface {
	// ChannelGap is called when messages of a channel are lost. to is the set of subscribers
	// that lose them.
	ChannelGap(to GapScope)
	// SubscriptionLost is called once each time the subscription to Redis is lost, no
	// matter how long it takes to subscribe again.
	SubscriptionLost()
}

// GapScope is the set of subscribers for which messages of a channel are lost.
type GapScope int

// Values of GapScope.
const (
	// GapProcess means that this process missed the messages, and that the history no
	// longer has them. They are lost for all subscribers in this process.
	GapProcess GapScope = iota
	// GapClient means that one subscriber, when it resumed or while it was connected,
	// needed messages that the history no longer has.
	GapClient
	gapScopes // number of values
)

// String returns the label value of metrics.
func (l GapScope) String() string { return [...]string{"process", "client"}[l] }

// GapScopes returns all values.
func GapScopes() []GapScope { return []GapScope{GapProcess, GapClient} }

type noMeter struct{}

func (noMeter) Opened(Kind)         {}
func (noMeter) Closed(Kind)         {}
func (noMeter) Received()           {}
func (noMeter) Sent(Kind)           {}
func (noMeter) TooSlow(Kind)        {}
func (noMeter) ChannelGap(GapScope) {}
func (noMeter) SubscriptionLost()   {}

// Counters is a Meter and a BusMeter that counts in memory. The zero value is ready to
// use.
type Counters struct {
	open             [kinds]atomic.Int64
	sent, tooSlow    [kinds]atomic.Uint64
	received         atomic.Uint64
	gaps             [gapScopes]atomic.Uint64
	subscriptionLost atomic.Uint64
}

// Stats are the values of a Counters. The arrays are indexed by Kind and GapScope.
type Stats struct {
	Open              [kinds]int64      // connections that are open now
	Sent, TooSlow     [kinds]uint64     // messages written to clients; slow consumers closed
	Received          uint64            // messages from WebSocket clients
	Gaps              [gapScopes]uint64 // calls of ChannelGap
	SubscriptionsLost uint64            // calls of SubscriptionLost
}

// Opened implements Meter.
func (c *Counters) Opened(k Kind) { c.open[k].Add(1) }

// Closed implements Meter.
func (c *Counters) Closed(k Kind) { c.open[k].Add(-1) }

// Received implements Meter.
func (c *Counters) Received() { c.received.Add(1) }

// Sent implements Meter.
func (c *Counters) Sent(k Kind) { c.sent[k].Add(1) }

// TooSlow implements Meter.
func (c *Counters) TooSlow(k Kind) { c.tooSlow[k].Add(1) }

// ChannelGap implements BusMeter.
func (c *Counters) ChannelGap(to GapScope) { c.gaps[to].Add(1) }

// SubscriptionLost implements BusMeter.
func (c *Counters) SubscriptionLost() { c.subscriptionLost.Add(1) }

// Stats returns the current values.
func (c *Counters) Stats() (s Stats) {
	for k := range kinds {
		s.Open[k], s.Sent[k], s.TooSlow[k] = c.open[k].Load(), c.sent[k].Load(), c.tooSlow[k].Load()
	}
	for l := range gapScopes {
		s.Gaps[l] = c.gaps[l].Load()
	}
	s.Received, s.SubscriptionsLost = c.received.Load(), c.subscriptionLost.Load()
	return s
}
