package realtime

import (
	"cmp"
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
)

//go:embed lua/publish.lua
var publishText string

//go:embed lua/tail.lua
var tailText string

var (
	publishScript = redisdb.NewScript(publishText)
	tailScript    = redisdb.NewScript(tailText)
)

// Defaults of BusOptions.
const (
	DefaultHistory      = 1000
	DefaultHistoryBytes = 1 << 20
	DefaultKeep         = 24 * time.Hour
)

const (
	// busChannel is what every process subscribes to, once.
	busChannel = "gale:bus"
	// silence is how long Redis may say nothing before it is asked whether it is
	// there, and again before the connection is given up.
	pingAfter = 3 * time.Second
	// retryBus is how long to wait before the next attempt to subscribe, at first,
	// and retryBusMax at most.
	retryBus    = 200 * time.Millisecond
	retryBusMax = time.Second
	// startTime is how long Redis may be away at first before it is worth a
	// line: where processes start together, the store may be the last.
	quietStart = 5 * time.Second
	// tailTimeout bounds the look at what a channel has kept.
	tailTimeout = 2 * time.Second
)

// What the log is told of that may last.
const (
	subscriptionLost = "channels: subscription lost, trying again"
	historyUnread    = "channels: history cannot be read"
)

var (
	// ErrChannel is a name that no channel can have.
	ErrChannel = errors.New("a channel is named by 1 to 128 letters, digits, dots, colons, underscores and hyphens")
	// ErrText is a message that is not text.
	ErrText = errors.New("a message is text in UTF-8")
	// ErrAway is what fails while Redis does not answer.
	ErrAway = errors.New("channels cannot be reached")
)

var channelName = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// ValidChannel reports whether a channel can have the name.
func ValidChannel(name string) bool { return channelName.MatchString(name) }

// BusOptions configure a Bus. The zero value is the documented default.
type BusOptions struct {
	// History and HistoryBytes are how much of a channel is kept for those who
	// come back, in Redis and in each process that has subscribers: messages, and
	// bytes of them; the last message is kept whatever its size. Defaults 1000
	// and 1 MiB.
	History, HistoryBytes int
	// Keep is how long a channel is remembered in which nothing happens. Default
	// 24 h.
	Keep time.Duration
	// Logger is told of lost messages and of Redis coming and going. Nil: nobody.
	Logger *slog.Logger
	// Meter is told of the same. Nil: nobody is.
	Meter BusMeter
}

// Bus brings the messages of all processes on all machines to the subscribers of
// this one. Messages of a channel are numbered in the order in which Redis took
// them, which is the same for everyone. Make one with NewBus, and Run it once.
type Bus struct {
	client   redis.UniversalClient
	opts     BusOptions
	troubles *redisdb.Troubles

	mu     sync.Mutex
	topics map[string]*topic // that somebody here subscribes to
}

// NewBus makes a Bus on client, which is not closed by it.
func NewBus(client redis.UniversalClient, o BusOptions) *Bus {
	o.History = cmp.Or(max(o.History, 0), DefaultHistory)
	o.HistoryBytes = cmp.Or(max(o.HistoryBytes, 0), DefaultHistoryBytes)
	o.Keep = cmp.Or(max(o.Keep, 0), DefaultKeep)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
	return &Bus{client: client, opts: o, troubles: redisdb.NewTroubles(o.Logger), topics: make(map[string]*topic)}
}

// keysOf are the keys of a channel; the braces keep them on one node of a cluster.
func keysOf(channel string) []string {
	return []string{"gale:channel:{" + channel + "}:state", "gale:channel:{" + channel + "}:log"}
}

// Publish sends data to the subscribers of a channel everywhere and returns its
// number. The error wraps ErrChannel, ErrText or ErrAway; with the last the message
// may have been sent all the same.
func (b *Bus) Publish(ctx context.Context, channel string, data []byte) (seq uint64, err error) {
	return b.PublishFor(ctx, channel, data, b.opts.Keep)
}

// PublishFor is Publish to a channel that is forgotten so long after its last
// message, in whole seconds, in place of BusOptions.Keep: for one of
// which there are many, each of them soon of no interest.
func (b *Bus) PublishFor(ctx context.Context, channel string, data []byte, keep time.Duration) (seq uint64, err error) {
	if !ValidChannel(channel) {
		return 0, ErrChannel
	}
	if !utf8.Valid(data) { // no text frame and no event stream can carry it
		return 0, ErrText
	}
	text, err := publishScript.Run(ctx, b.client, keysOf(channel), busChannel, channel, data,
		b.opts.History, b.opts.HistoryBytes, int(max(keep, time.Second)/time.Second)).Text()
	if err == nil {
		seq, err = strconv.ParseUint(text, 10, 64)
	}
	if err != nil {
		return 0, fmt.Errorf("publish message: %w: %w", ErrAway, err)
	}
	return seq, nil
}

// tail returns the messages that a channel has kept, and the last one's number.
func (b *Bus) tail(ctx context.Context, channel string) (seq uint64, kept []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	reply, err := tailScript.Run(ctx, b.client, keysOf(channel), int(b.opts.Keep/time.Second)).Slice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("%d values", len(reply))
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read channel: %w: %w", ErrAway, err)
	}
	number, _ := reply[0].(string)
	if seq, err = strconv.ParseUint(number, 10, 64); err != nil {
		return 0, nil, fmt.Errorf("read channel: %w: %w", ErrAway, err)
	}
	list, _ := reply[1].([]any)
	for _, v := range list {
		text, _ := v.(string)
		kept = append(kept, text)
	}
	return seq, kept, nil
}

// Run receives until ctx ends. While Redis is away it tries again and again; what
// was published meanwhile is fetched from what the channels have kept, and what
// they have not is logged and shows as a gap.
func (b *Bus) Run(ctx context.Context) error {
	began, lost, delay := time.Now(), false, retryBus
	for ctx.Err() == nil {
		subscribed, err := b.receive(ctx, lost)
		switch {
		case ctx.Err() != nil:
		case !subscribed && !lost && time.Since(began) < quietStart:
			b.opts.Logger.Debug("channels: not subscribed yet", "error", err)
		default:
			if subscribed || !lost { // else it is lost still
				b.opts.Meter.SubscriptionLost()
			}
			lost = true
			b.troubles.Note(subscriptionLost, "", err)
		}
		if delay = min(2*delay, retryBusMax); subscribed {
			delay = retryBus
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
	return nil
}

// receive subscribes, and takes messages until something fails; subscribed reports
// whether it came as far as that.
func (b *Bus) receive(ctx context.Context, again bool) (subscribed bool, _ error) {
	ps := b.client.Subscribe(ctx, busChannel)
	stop := context.AfterFunc(ctx, func() { _ = ps.Close() }) // ends the Receive that waits; waits for nothing itself
	defer func() {
		stop()
		_ = ps.Close()
	}()
	pinged := false
	for {
		got, err := ps.ReceiveTimeout(ctx, pingAfter)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && !pinged {
			pinged = true
			if err := ps.Ping(ctx); err != nil {
				return subscribed, err
			}
			continue
		}
		if err != nil {
			return subscribed, err
		}
		pinged = false
		switch m := got.(type) {
		case *redis.Subscription:
			subscribed = true
			b.catchUpTopics(ctx)
			if again {
				b.troubles.Over(subscriptionLost, "", "channels: subscribed again")
			}
		case *redis.Message:
			b.handlePayload(ctx, m.Payload)
		}
	}
}

// ingest takes a message as publish.lua sends it.
func (b *Bus) handlePayload(ctx context.Context, payload string) {
	number, rest, _ := strings.Cut(payload, " ")
	channel, data, ok := strings.Cut(rest, " ")
	seq, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		b.opts.Logger.Warn("channels: not a message of ours", "bytes", len(payload))
		return
	}
	b.mu.Lock()
	t := b.topics[channel]
	b.mu.Unlock()
	if t == nil {
		return // nobody here listens
	}
	if !t.receive(seq, data) {
		t.catchUp(ctx) // one before it is missing
	}
}

// catchUpAll fetches what was missed while there was no subscription.
func (b *Bus) catchUpTopics(ctx context.Context) {
	b.mu.Lock()
	all := make([]*topic, 0, len(b.topics))
	for _, t := range b.topics {
		all = append(all, t)
	}
	b.mu.Unlock()
	for _, t := range all {
		t.catchUp(ctx)
	}
}
