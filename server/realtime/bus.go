package realtime

import (
	"cmp"
	"context"
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

	"github.com/galeserver/gale/internal/channelscript"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/sleep"
)

// Defaults of BusOptions.
const (
	DefaultHistory      = 1000
	DefaultHistoryBytes = 1 << 20
	DefaultKeep         = 24 * time.Hour
)

const (
	// busChannel is the Redis channel that every process subscribes to, once.
	busChannel = "gale:bus"
	// pingAfter is about the time without data from Redis after which a ping is sent to it.
	// If Redis then sends nothing for as long, the connection is closed. All processes ping
	// at the same times, so they wake an idle Redis less often.
	pingAfter = 3 * time.Second
	// retryBus is the first delay between two attempts to subscribe. It doubles up to
	// retryBusMax.
	retryBus    = 200 * time.Millisecond
	retryBusMax = time.Second
	// quietStart is the time after the start in which an unreachable Redis is not logged
	// as a warning: if all processes start together, the state server may start last.
	quietStart = 5 * time.Second
	// tailTimeout limits reading the history of a channel.
	tailTimeout = 2 * time.Second
)

// Log messages of conditions that may last. ProblemLog limits how often they are logged.
const (
	subscriptionLost = "channels: subscription lost, trying again"
	historyUnread    = "channels: history cannot be read"
)

var (
	// ErrChannel is the error for an invalid channel name.
	ErrChannel = errors.New("a channel is named by 1 to 128 letters, digits, dots, colons, underscores and hyphens")
	// ErrText is the error for a message that is not valid UTF-8.
	ErrText = errors.New("a message is text in UTF-8")
	// ErrAway is the error for a Redis that cannot be reached or has failed.
	ErrAway = errors.New("channels cannot be reached")
)

var channelName = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// ValidChannel reports whether name is a valid channel name.
func ValidChannel(name string) bool { return channelName.MatchString(name) }

// BusOptions configure a Bus. The zero value is the documented default.
type BusOptions struct {
	// History and HistoryBytes limit the messages of a channel that are kept for
	// clients that resume, in Redis and in each process with subscribers: their
	// number, and the sum of their sizes in bytes. The last message is always kept.
	// Defaults 1000 and 1 MiB.
	History, HistoryBytes int
	// Keep is the time for which the history of a channel is kept after its last
	// message, or after it was last read for a new subscription. Default 24 h. See also
	// PublishFor.
	Keep time.Duration
	// Logger gets a line when messages are lost, and when Redis fails or recovers.
	// Nil: no log.
	Logger *slog.Logger
	// Meter counts lost messages and lost connections to Redis. Nil: no counting.
	Meter BusMeter
}

// Bus delivers messages to the subscribers in this process, no matter which process or
// machine published them. Redis numbers the messages of a channel as it receives them,
// so all subscribers get them in the same order. Make one with NewBus, and call Run
// once.
type Bus struct {
	client   redis.UniversalClient
	opts     BusOptions
	problems *redisdb.ProblemLog

	mu     sync.Mutex
	topics map[string]*topic // channels with subscribers in this process
}

// NewBus makes a Bus on client. The caller closes client.
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
	return &Bus{client: client, opts: o, problems: redisdb.NewProblemLog(o.Logger), topics: make(map[string]*topic)}
}

// keysOf returns the keys of a channel in Redis. The braces are a hash tag: a cluster
// stores both keys on one node.
func keysOf(channel string) []string {
	return []string{"gale:channel:{" + channel + "}:state", "gale:channel:{" + channel + "}:log"}
}

// Publish sends data to all subscribers of a channel and returns the message's number.
// The error wraps ErrChannel, ErrText or ErrAway. After ErrAway the message may have
// been sent nevertheless.
func (b *Bus) Publish(ctx context.Context, channel string, data []byte) (seq uint64, err error) {
	return b.PublishFor(ctx, channel, data, b.opts.Keep)
}

// PublishFor is Publish with keep in place of BusOptions.Keep. keep is rounded down to
// whole seconds; the minimum is one second. Use it if there are many channels, each of
// which is used for a short time.
func (b *Bus) PublishFor(ctx context.Context, channel string, data []byte, keep time.Duration) (seq uint64, err error) {
	if !ValidChannel(channel) {
		return 0, ErrChannel
	}
	if !utf8.Valid(data) { // neither a text frame nor an event stream can contain it
		return 0, ErrText
	}
	text, err := channelscript.Publish.Run(ctx, b.client, keysOf(channel), busChannel, channel, data,
		b.opts.History, b.opts.HistoryBytes, int(max(keep, time.Second)/time.Second)).Text()
	if err == nil {
		seq, err = strconv.ParseUint(text, 10, 64)
	}
	if err != nil {
		return 0, fmt.Errorf("publish message: %w: %w", ErrAway, err)
	}
	return seq, nil
}

// tail returns the stored messages of a channel, and the number of the last one.
func (b *Bus) tail(ctx context.Context, channel string) (seq uint64, kept []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	reply, err := channelscript.Tail.Run(ctx, b.client, keysOf(channel), int(b.opts.Keep/time.Second)).Slice()
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

// Run receives messages until ctx ends, and returns nil. While Redis cannot be reached,
// Run tries to subscribe again. Then it loads the missed messages from the history of
// the channels. If the history no longer has them, Run logs that, and the subscribers
// get a gap.
func (b *Bus) Run(ctx context.Context) error {
	began, lost, delay := time.Now(), false, retryBus
	for ctx.Err() == nil {
		subscribed, err := b.receive(ctx, lost)
		switch {
		case ctx.Err() != nil:
		case !subscribed && !lost && time.Since(began) < quietStart:
			b.opts.Logger.Debug("channels: not subscribed yet", "error", err)
		default:
			if subscribed || !lost { // otherwise it is still the same loss
				b.opts.Meter.SubscriptionLost()
			}
			lost = true
			b.problems.Report(subscriptionLost, "", err)
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

// receive subscribes and handles messages until an error occurs. again says that an
// earlier subscription was lost. subscribed reports whether this one succeeded.
func (b *Bus) receive(ctx context.Context, again bool) (subscribed bool, _ error) {
	ps := b.client.Subscribe(ctx, busChannel)
	stop := context.AfterFunc(ctx, func() { _ = ps.Close() }) // unblocks Receive; does not block
	defer func() {
		stop()
		_ = ps.Close()
	}()
	pinged := false
	for {
		got, err := ps.ReceiveTimeout(ctx, sleep.Align(pingAfter))
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
				b.problems.Resolve(subscriptionLost, "", "channels: subscribed again")
			}
		case *redis.Message:
			b.handlePayload(ctx, m.Payload)
		}
	}
}

// handlePayload handles a message in the format of publish.lua.
func (b *Bus) handlePayload(ctx context.Context, payload string) {
	number, rest, _ := strings.Cut(payload, " ")
	channel, data, ok := strings.Cut(rest, " ")
	seq, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		b.opts.Logger.Warn("channels: unknown message format", "bytes", len(payload))
		return
	}
	b.mu.Lock()
	t := b.topics[channel]
	b.mu.Unlock()
	if t == nil {
		return // no subscribers in this process
	}
	if !t.receive(seq, data) {
		t.catchUp(ctx) // an earlier message is missing
	}
}

// catchUpTopics loads the messages that were published while there was no subscription.
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
