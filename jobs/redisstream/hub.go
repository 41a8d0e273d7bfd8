package redisstream

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// healthCheck is how often a silent subscription is asked whether it lives.
const healthCheck = time.Second

// waiter is a Lease or a Watch that waits. To be woken means to look again.
type waiter struct {
	channel string
	wake    chan struct{} // capacity 1: one call says as much as many
}

// hub wakes waiters when something is published on their channel, and whenever
// the subscription to it begins, at first or again: what was published before
// nobody has heard.
//
// One connection serves all waiters of a process. It is made with the first
// and lives until stop, which waits for the goroutine that owns it.
type hub struct {
	client redis.UniversalClient
	always string // the channel that is always subscribed to
	log    *slog.Logger

	mu       sync.Mutex
	waiters  map[string]map[*waiter]struct{} // by channel
	running  bool
	stopped  bool
	changed  chan struct{} // capacity 1: channels came or went
	stopping chan struct{}
	ended    sync.WaitGroup
}

func newHub(client redis.UniversalClient, always string, log *slog.Logger) *hub {
	return &hub{
		client: client, always: always, log: log, waiters: map[string]map[*waiter]struct{}{},
		changed: make(chan struct{}, 1), stopping: make(chan struct{}),
	}
}

func (h *hub) join(channel string) *waiter {
	w := &waiter{channel: channel, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.waiters[channel] == nil
	if first {
		h.waiters[channel] = map[*waiter]struct{}{}
	}
	h.waiters[channel][w] = struct{}{}
	if !h.running && !h.stopped {
		h.running = true
		h.ended.Go(h.run) // ends by stop
	}
	if first {
		call(h.changed)
	}
	call(w.wake) // the subscription may be there already: look once more
	return w
}

func (h *hub) leave(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters[w.channel], w)
	if len(h.waiters[w.channel]) == 0 {
		delete(h.waiters, w.channel)
		call(h.changed)
	}
}

// stop ends the goroutine and returns when it has ended; call it once.
func (h *hub) stop() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	close(h.stopping)
	h.ended.Wait()
}

func (h *hub) run() {
	ctx := context.Background()
	sub := h.client.Subscribe(ctx, h.always)
	defer sub.Close() //nolint:errcheck // a subscription has nothing to lose
	events := sub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(healthCheck), redis.WithChannelSize(1024))
	have := map[string]bool{h.always: true}
	h.wake(h.always)
	for {
		select {
		case <-h.stopping:
			return
		case <-h.changed:
			h.follow(ctx, sub, have)
		case e, ok := <-events:
			if !ok {
				return
			}
			switch e := e.(type) {
			case *redis.Message:
				h.wake(e.Channel)
			case *redis.Subscription:
				h.wake(e.Channel)
			}
		}
	}
}

// follow subscribes to what is waited for and to nothing else. An error is a
// broken connection; go-redis makes another and subscribes again to all.
func (h *hub) follow(ctx context.Context, sub *redis.PubSub, have map[string]bool) {
	h.mu.Lock()
	var come, gone []string
	for channel := range h.waiters {
		if !have[channel] {
			come = append(come, channel)
		}
	}
	for _, channel := range slices.Collect(maps.Keys(have)) {
		if h.waiters[channel] == nil && channel != h.always {
			gone = append(gone, channel)
		}
	}
	h.mu.Unlock()
	for _, channel := range come {
		have[channel] = true
	}
	for _, channel := range gone {
		delete(have, channel)
	}
	if len(come) > 0 {
		if err := sub.Subscribe(ctx, come...); err != nil {
			h.log.Debug("cannot subscribe now", "error", err)
		}
	}
	if len(gone) > 0 {
		if err := sub.Unsubscribe(ctx, gone...); err != nil {
			h.log.Debug("cannot unsubscribe now", "error", err)
		}
	}
}

func (h *hub) wake(channel string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters[channel] {
		call(w.wake)
	}
}

func call(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
