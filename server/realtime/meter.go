package realtime

import "sync/atomic"

// Kind is what a connection that lives long is to its client.
type Kind int

// The kinds.
const (
	WebSocket Kind = iota
	EventStream
	LongPoll
	kinds // how many there are
)

// String names a kind as figures do.
func (k Kind) String() string { return [...]string{"websocket", "event_stream", "long_poll"}[k] }

// Kinds returns all of them.
func Kinds() []Kind { return []Kind{WebSocket, EventStream, LongPoll} }

// Meter is told what becomes of connections. Its methods are called from many
// goroutines at once, for each message and under locks, so they must not block.
type Meter interface {
	// Opened is called when a connection is there, and Closed once when it is gone.
	Opened(k Kind)
	Closed(k Kind)
	// Received is called for each whole message of a WebSocket's client.
	Received()
	// Sent is called for each message that was written to a client. Pings, closes
	// and other signs of life are none.
	Sent(k Kind)
	// TooSlow is called for each client that was closed since it made no room for
	// Options.SendTimeout.
	TooSlow(k Kind)
}

// BusMeter is told what becomes of channels, as a Meter is of connections.
type BusMeter interface {
	// ChannelGap is called when messages of a channel are lost to somebody here.
	ChannelGap(to GapScope)
	// SubscriptionLost is called once each time that Redis went away, or the
	// connection to it, however long it stays away.
	SubscriptionLost()
}

// Loser is whom messages of a channel are lost to.
type GapScope int

// The losers.
const (
	// Process: this process missed them, and they are not kept any more: lost to
	// all of its subscribers.
	GapProcess GapScope = iota
	// Client: one subscriber was further behind than its channel keeps, when it
	// came back or while it was connected.
	GapClient
	gapScopes // how many there are
)

// String names a loser as figures do.
func (l GapScope) String() string { return [...]string{"process", "client"}[l] }

// Losers returns all of them.
func GapScopes() []GapScope { return []GapScope{GapProcess, GapClient} }

type noMeter struct{}

func (noMeter) Opened(Kind)         {}
func (noMeter) Closed(Kind)         {}
func (noMeter) Received()           {}
func (noMeter) Sent(Kind)           {}
func (noMeter) TooSlow(Kind)        {}
func (noMeter) ChannelGap(GapScope) {}
func (noMeter) SubscriptionLost()   {}

// Counters is a Meter and a BusMeter that adds up. The zero value is ready.
type Counters struct {
	open             [kinds]atomic.Int64
	sent, tooSlow    [kinds]atomic.Uint64
	received         atomic.Uint64
	gaps             [gapScopes]atomic.Uint64
	subscriptionLost atomic.Uint64
}

// Stats are the sums of a Counters; the arrays are by Kind and Loser.
type Stats struct {
	Open              [kinds]int64  // connections that are open now
	Sent, TooSlow     [kinds]uint64 // messages written; clients closed
	Received          uint64        // messages
	Gaps              [gapScopes]uint64
	SubscriptionsLost uint64
}

// Opened counts a connection.
func (c *Counters) Opened(k Kind) { c.open[k].Add(1) }

// Closed counts one less.
func (c *Counters) Closed(k Kind) { c.open[k].Add(-1) }

// Received counts a message of a client.
func (c *Counters) Received() { c.received.Add(1) }

// Sent counts a message to a client.
func (c *Counters) Sent(k Kind) { c.sent[k].Add(1) }

// TooSlow counts a client that was closed.
func (c *Counters) TooSlow(k Kind) { c.tooSlow[k].Add(1) }

// ChannelGap counts a gap.
func (c *Counters) ChannelGap(to GapScope) { c.gaps[to].Add(1) }

// SubscriptionLost counts a loss.
func (c *Counters) SubscriptionLost() { c.subscriptionLost.Add(1) }

// Stats returns the sums as they are now.
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
