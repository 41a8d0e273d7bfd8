package celery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
)

// DefaultQueue is the queue that Celery clients use if nothing else is configured.
const DefaultQueue = "celery"

const (
	aliveFor     = 10 * time.Second       // time after which the messages of a silent bridge are taken over
	beatInterval = 2 * time.Second        // interval of signs of life
	adoptEvery   = 5                      // number of signs of life after which results of silent bridges are taken over
	minIdle      = 10 * time.Millisecond  // shortest and
	maxIdle      = 250 * time.Millisecond // longest pause between two looks at empty queues
	maxBackoff   = 5 * time.Second        // longest pause after an error
	warnInterval = time.Minute            // shortest interval of log records about the same trouble
)

// Options are the settings of a Bridge.
type Options struct {
	// Address is the URL of the Redis that is Celery's broker, with the number of the database:
	// redis://host:6379/0. Required. Kombu does not support a cluster, so neither does Bridge.
	Address string
	// Results is the URL of the Redis that is Celery's result backend. Default: Address.
	Results string
	// Queues are the queues of Celery from which messages are taken. Default: DefaultQueue.
	Queues []string
	// Prefix is global_keyprefix of Celery's broker_transport_options and
	// result_backend_transport_options. Default: none.
	Prefix string
	// Counters count what the bridge does. Default: none that anybody reads.
	Counters *Counters
	// Logger is the log. Default: none.
	Logger *slog.Logger
}

// Bridge takes messages of Celery clients. Several bridges may use the same Redis, also
// beside workers of Celery.
type Bridge struct {
	client  *jobs.Client
	broker  redis.UniversalClient
	results redis.UniversalClient
	keys    keys
	queues  []string
	channel string // of remote control commands
	log     *slog.Logger
	id      string // of this bridge

	counters *Counters

	watches  sync.WaitGroup
	mu       sync.Mutex
	watching map[string]bool // ids of tasks whose end is awaited
	warned   time.Time       // time of the last record about trouble
}

// New returns a Bridge that enqueues tasks with the client. It does not connect. The error
// says which option is invalid.
func New(client *jobs.Client, o Options) (*Bridge, error) {
	b := &Bridge{client: client, keys: keys{o.Prefix}, queues: o.Queues, log: o.Logger, id: jobs.NewID(), counters: o.Counters, watching: map[string]bool{}}
	if len(b.queues) == 0 {
		b.queues = []string{DefaultQueue}
	}
	if b.counters == nil {
		b.counters = new(Counters)
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if b.broker, err = open(o.Address, b.log); err != nil {
		return nil, fmt.Errorf("broker of Celery: %w", err)
	}
	if b.results, err = open(cmp.Or(o.Results, o.Address), b.log); err != nil {
		return nil, errors.Join(fmt.Errorf("result backend of Celery: %w", err), b.broker.Close())
	}
	database := 0
	if single, ok := b.broker.(*redis.Client); ok {
		database = single.Options().DB
	}
	b.channel = fmt.Sprintf("/%d.celery.pidbox", database)
	return b, nil
}

func open(address string, log *slog.Logger) (redis.UniversalClient, error) {
	if err := Check(address); err != nil {
		return nil, err
	}
	return redisdb.Open(address, redisdb.Options{Logger: log})
}

// Check returns the error that New would return for an address.
func Check(address string) error {
	if strings.Contains(address, ",") {
		return errors.New("use one address: Celery does not support a cluster of Redis")
	}
	return redisdb.Check(address)
}

// Run takes messages until ctx ends. While Redis or the task store is not available, it
// retries, and the messages stay in Redis.
func (b *Bridge) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){b.beat, b.take, b.listen} {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
	b.watches.Wait()
	b.leave()
	return errors.Join(b.broker.Close(), b.results.Close())
}

// leave ends the sign of life, so that another bridge takes over at once.
func (b *Bridge) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), beatInterval)
	defer cancel()
	if err := b.broker.Del(ctx, b.keys.alive(b.id)).Err(); err != nil {
		b.log.Debug("cannot end the sign of life of the Celery bridge", "error", err)
	}
}

// beat gives signs of life, and takes over from bridges that no longer do.
func (b *Bridge) beat(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		inherited, err := b.takeOver(ctx)
		if err == nil && (inherited || n%adoptEvery == 0) {
			err = b.adopt(ctx)
		}
		if err != nil {
			b.trouble(ctx, err)
			n = -1 // adopt as soon as Redis responds
		}
		sleep.For(ctx, beatInterval)
	}
}

// trouble logs an error, at most once per warnInterval.
func (b *Bridge) trouble(ctx context.Context, err error) {
	b.mu.Lock()
	due := ctx.Err() == nil && time.Since(b.warned) >= warnInterval
	if due {
		b.warned = time.Now()
	}
	b.mu.Unlock()
	if due {
		b.log.Warn("Celery bridge is interrupted; retrying", "error", err)
	}
}
