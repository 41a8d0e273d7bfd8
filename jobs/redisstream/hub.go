package redisstream

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
)

// healthCheck is how often a silent subscription is asked whether it lives.
const healthCheck = time.Second

// How long to wait before the next attempt to subscribe, at first and at most.
// Those who wait look by themselves at each attempt.
const (
	subscribeMin = 200 * time.Millisecond
	subscribeMax = 2 * time.Second
)

const troubleSubscription = "subscription lost; who waits for a task looks again and again"

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
	client   redis.UniversalClient
	always   string // the channel that is always subscribed to
	problems *redisdb.ProblemLog

	mu       sync.Mutex
	waiters  map[string]map[*waiter]struct{} // by channel
	running  bool
	stopped  bool
	changed  chan struct{} // capacity 1: channels came or went
	stopping chan struct{}
	ended    sync.WaitGroup
}

func newHub(client redis.UniversalClient, always string, problems *redisdb.ProblemLog) *hub {
	return &hub{
		client: client, always: always, problems: problems, waiters: map[string]map[*waiter]struct{}{},
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	h.ended.Go(func() { // ends with run
		select {
		case <-h.stopping:
			cancel()
		case <-stop:
		}
	})
	defer close(stop)
	for delay := subscribeMin; ; delay = min(2*delay, subscribeMax) {
		steady, err := h.receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if steady {
			delay = subscribeMin
		}
		h.problems.Report(troubleSubscription, "", err)
		if _, refused := redisdb.Advice(err); refused {
			h.wakeAll() // who waits looks by itself meanwhile
		}
		select {
		case <-h.stopping:
			return
		case <-time.After(delay):
		}
	}
}

// receive subscribes, and wakes waiters until something fails; steady reports
// whether that was not at once.
func (h *hub) receive(ctx context.Context) (steady bool, _ error) {
	began := time.Now()
	sub := h.client.Subscribe(ctx, h.always)
	unblock := context.AfterFunc(ctx, func() { _ = sub.Close() }) // ends ReceiveTimeout
	defer func() {
		unblock()
		_ = sub.Close() // a subscription has nothing to lose
	}()
	have := map[string]bool{h.always: true}
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { // ends with receive
		for {
			select {
			case <-following.Done():
				return
			case <-h.changed:
				h.follow(ctx, sub, have)
			}
		}
	})
	defer follower.Wait()
	defer stop()
	call(h.changed) // channels of waiters that were there before
	for asked := false; ; {
		got, err := sub.ReceiveTimeout(ctx, healthCheck)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && !asked && ctx.Err() == nil {
			if err := sub.Ping(ctx); err != nil {
				return steady, err
			}
			asked = true
			continue
		}
		if err != nil {
			return steady, err
		}
		asked = false
		if !steady && time.Since(began) > healthCheck {
			steady = true
			h.problems.Resolve(troubleSubscription, "", "subscribed again")
		}
		switch e := got.(type) {
		case *redis.Message:
			h.wake(e.Channel)
		case *redis.Subscription:
			h.wake(e.Channel)
		}
	}
}

// follow subscribes to what is waited for and to nothing else. An error is a
// broken connection, which receive notices too.
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
		_ = sub.Subscribe(ctx, come...)
	}
	if len(gone) > 0 {
		_ = sub.Unsubscribe(ctx, gone...)
	}
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, waiters := range h.waiters {
		for w := range waiters {
			call(w.wake)
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
