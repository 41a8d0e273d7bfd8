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

// healthCheck is the time without a message after which the hub pings the server. If no
// message follows within the same time, the subscription is considered lost.
const healthCheck = time.Second

// Smallest and largest backoff before the next attempt to subscribe. After each successful
// attempt all waiters read again.
const (
	subscribeMin = 200 * time.Millisecond
	subscribeMax = 2 * time.Second
)

const troubleSubscription = "subscription lost; polling for changes of tasks until it is back"

// waiter is a waiting Lease or Watch. When it is woken, it reads again.
type waiter struct {
	channel string
	wake    chan struct{} // signal to read again; capacity 1, so that several signals count as one
}

// hub wakes waiters when a message arrives on their channel. It also wakes them whenever
// the subscription to the channel starts or is restored, because earlier messages were
// missed.
//
// One connection serves all waiters of a process. It is opened for the first waiter and
// closed by stop, which waits for the goroutine that owns it.
type hub struct {
	client   redis.UniversalClient
	always   string // channel that is subscribed even without waiters
	problems *redisdb.ProblemLog

	mu       sync.Mutex
	waiters  map[string]map[*waiter]struct{} // by channel
	running  bool
	stopped  bool
	changed  chan struct{} // signal that the set of channels has changed; capacity 1
	stopping chan struct{} // closed by stop
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
		signal(h.changed)
	}
	signal(w.wake) // the channel may be subscribed already; read once more
	return w
}

func (h *hub) leave(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters[w.channel], w)
	if len(h.waiters[w.channel]) == 0 {
		delete(h.waiters, w.channel)
		signal(h.changed)
	}
}

// stop ends the goroutine and returns when it has ended. It must be called once only.
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
			h.wakeAll() // no subscription is allowed, so waiters poll
		}
		select {
		case <-h.stopping:
			return
		case <-time.After(delay):
		}
	}
}

// receive subscribes and wakes waiters until an error occurs. steady reports whether the
// subscription worked for longer than healthCheck.
func (h *hub) receive(ctx context.Context) (steady bool, _ error) {
	began := time.Now()
	sub := h.client.Subscribe(ctx, h.always)
	unblock := context.AfterFunc(ctx, func() { _ = sub.Close() }) // ends ReceiveTimeout
	defer func() {
		unblock()
		_ = sub.Close() // an error on close does not matter
	}()
	subscribed := map[string]bool{h.always: true}
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { // ends with receive
		for {
			select {
			case <-following.Done():
				return
			case <-h.changed:
				h.updateChannels(ctx, sub, subscribed)
			}
		}
	})
	defer follower.Wait()
	defer stop()
	signal(h.changed) // subscribe to the channels of existing waiters
	for pinged := false; ; {
		got, err := sub.ReceiveTimeout(ctx, healthCheck)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && !pinged && ctx.Err() == nil {
			if err := sub.Ping(ctx); err != nil {
				return steady, err
			}
			pinged = true
			continue
		}
		if err != nil {
			return steady, err
		}
		pinged = false
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

// updateChannels subscribes to the channels of all waiters and unsubscribes from others. It
// ignores errors, because receive gets the same ones.
func (h *hub) updateChannels(ctx context.Context, sub *redis.PubSub, subscribed map[string]bool) {
	h.mu.Lock()
	var added, removed []string
	for channel := range h.waiters {
		if !subscribed[channel] {
			added = append(added, channel)
		}
	}
	for _, channel := range slices.Collect(maps.Keys(subscribed)) {
		if h.waiters[channel] == nil && channel != h.always {
			removed = append(removed, channel)
		}
	}
	h.mu.Unlock()
	for _, channel := range added {
		subscribed[channel] = true
	}
	for _, channel := range removed {
		delete(subscribed, channel)
	}
	if len(added) > 0 {
		_ = sub.Subscribe(ctx, added...)
	}
	if len(removed) > 0 {
		_ = sub.Unsubscribe(ctx, removed...)
	}
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, waiters := range h.waiters {
		for w := range waiters {
			signal(w.wake)
		}
	}
}

func (h *hub) wake(channel string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters[channel] {
		signal(w.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
