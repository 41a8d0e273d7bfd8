// Package redisstream keeps tasks in Redis Streams (go-redis/v9, Redis 7 or
// newer, alone or a cluster): the jobs.Store of many machines.
//
//	Enqueue ──► stream:<queue> ──XREADGROUP──► pending of the owner
//	   │  eta       ▲                             │
//	   └──► later:<queue>                         ├─ Finish ──► task:<id>, its next tasks
//	                ▲                             └─ lost ────► stream, suspects or dead
//	                └──────── retry ──────────────┘
//
// Every method is one Lua script (lua/), so each step is whole or has not
// happened, whoever is killed; its clock is the server's. The task itself is a
// hash; the streams hold ids. A lease is an entry that is pending for its
// owner, and its idle time is the time since it was last extended. All keys of
// a store begin with one hash tag: a cluster keeps them together on one of its
// nodes, which is what lets a step span queues.
//
// What wakes those who wait, Lease and Watch, is PUBLISH. A message that is
// lost costs a second at most: Lease looks again by itself, and everybody does
// when the connection is back.
package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// DefaultPatience is how long a call that a client waits for may take.
const DefaultPatience = 800 * time.Millisecond

// How long a connection may take: long enough for a busy server, short enough
// for a caller who waits. Calls that a client waits for have Patience besides.
const (
	dialTimeout = 700 * time.Millisecond
	ioTimeout   = 3 * time.Second
)

// Options configure a Store. The zero value is the documented default.
type Options struct {
	// Prefix tells the stores in one Redis apart. Default "gale". It must have
	// no braces: it becomes a part of the hash tag.
	Prefix string
	// LeaseTTL is how long a task stays with a worker that has not been heard
	// of. Default driver.DefaultLeaseTTL, 30 s.
	LeaseTTL time.Duration
	// MaxLost is how many lost leases make a task dead. Default
	// driver.DefaultMaxLost, 5.
	MaxLost int
	// Keep is how long a task that has ended stays. Default driver.DefaultKeep,
	// 7 days.
	Keep time.Duration
	// Patience is how long Enqueue, EnqueueGroup, Get, Group and Depth may
	// take, after which they return jobs.ErrUnavailable. Default
	// DefaultPatience, 800 ms.
	Patience time.Duration
	// Meter counts tasks whose workers were lost. Default meter.NoMeter.
	Meter meter.Meter
	// Logger is told of tasks that end as dead, and of what is dangerous in
	// the configuration of the server. Default: none.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Prefix = cmp.Or(o.Prefix, "gale")
	o.LeaseTTL = cmp.Or(o.LeaseTTL, driver.DefaultLeaseTTL)
	o.MaxLost = cmp.Or(o.MaxLost, driver.DefaultMaxLost)
	o.Keep = cmp.Or(o.Keep, driver.DefaultKeep)
	o.Patience = cmp.Or(o.Patience, DefaultPatience)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Meter == nil {
		o.Meter = meter.NoMeter{}
	}
	return o
}

// Store is a jobs.Store in Redis. Make one with Open; one per process is
// enough, and several are harmless.
type Store struct {
	opts    Options
	client  redis.UniversalClient
	key     string // what all keys begin with
	calls   calls
	hub     *hub
	batch   *batcher
	journal *journal
	looked  atomic.Bool // the server's configuration was looked at
	closed  chan struct{}
	close   func() error

	problems *redisdb.ProblemLog
	period   time.Duration // from one audit to the next
}

// auditPeriod is how often a store looks for tasks whose place was deleted, and
// how long a queue must have been unused for its keys to be removed.
const auditPeriod = time.Hour

// What the log is told of that does not pass by itself.
const (
	troubleAway  = "redis does not answer; tasks are refused until it does"
	troubleQueue = "queue cannot be served; others go on"
)

var _ driver.Store = (*Store)(nil)

// Open makes a store on the servers that address names: redis://,
// rediss:// or unix://; several, comma separated, are a cluster. Only an address
// that is none is an error. Whatever else is wrong, be it a server that does not
// respond, that is older than Redis 7 or that refuses the password, may be
// repaired: it is written to the log, and every call returns jobs.ErrUnavailable
// until then.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	j := newJournal()
	// A call is sent twice if need be, which a connection that was closed by a
	// restart of the server needs and every script bears.
	client, err := redisdb.Open(address, redisdb.Options{Dial: dialTimeout, IO: ioTimeout, Retries: 1, OnConnect: j.greet, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("open task store: %w", err)
	}
	s := newStore(client, j, o)
	if err := s.look(ctx); err != nil {
		s.problems.Report(troubleAway, "", err)
	}
	return s, nil
}

func newStore(client redis.UniversalClient, j *journal, o Options) *Store {
	o = o.withDefaults()
	s := &Store{opts: o, client: client, journal: j, key: "{" + o.Prefix + ":jobs}", closed: make(chan struct{})}
	s.batch = &batcher{send: s.sendAll}
	s.problems = redisdb.NewProblemLog(o.Logger)
	s.period = auditPeriod
	j.ping = s.ping
	j.log = o.Logger
	j.again = func(ctx context.Context, e entry) error { _, err := s.soon(ctx, e.script, e.args...); return err }
	s.calls.handle = jobs.NewID()
	s.hub = newHub(client, s.key+":due", s.problems)
	s.close = sync.OnceValue(s.shut)
	return s
}

// Close ends every waiting Lease and Watch and closes the connections. Leases
// stay until they expire. Methods called later return jobs.ErrUnavailable. A
// second Close waits for the first and returns the same.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.closed)
	s.hub.stop()
	s.batch.stop()
	s.journal.stop()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close task store: %w", err)
	}
	return nil
}
