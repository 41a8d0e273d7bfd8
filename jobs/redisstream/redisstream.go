// Package redisstream is the task store for many machines: it stores tasks in Redis
// Streams (go-redis/v9), on a Redis 7 or newer, single or cluster.
//
//	Enqueue ──► stream:<queue> ──XREADGROUP──► pending of the owner
//	   │  RunAt     ▲                             │
//	   └──► later:<queue>                         ├─ Finish ──► task:<id>, its next tasks
//	                ▲                             └─ lost ────► stream, suspects or dead
//	                └──────── retry ──────────────┘
//
// Every change is one Lua script (lua/), so that it happens completely or not at all, even
// if a process is killed. Scripts use the clock of the server. A task is a hash; the
// streams contain ids of tasks. A lease is a stream entry that is pending for the owner;
// the idle time of the entry is the time since the last extension. All keys of a store
// start with the same hash tag, so that a cluster stores them on one node and a script can
// use them all.
//
// PUBLISH wakes a waiting Lease or Watch. If a message is lost, Lease reads again within a
// second, because it also polls. Watch reads again when the connection is restored.
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

// DefaultPatience is the default of Options.Patience.
const DefaultPatience = 800 * time.Millisecond

// Time limits for connecting and for one read or write on a connection. Options.Patience
// further limits the calls for which a client waits.
const (
	dialTimeout = 700 * time.Millisecond
	ioTimeout   = 3 * time.Second
)

// Options configure a Store. The zero value is the documented default.
type Options struct {
	// Prefix distinguishes several stores in one Redis. Default "gale". It becomes part
	// of the hash tag, so it must not contain braces.
	Prefix string
	// LeaseTTL is the time after which a lease expires unless it is extended. Default
	// driver.DefaultLeaseTTL, 30 s.
	LeaseTTL time.Duration
	// MaxLost is the number of lost leases after which a task is dead. Default
	// driver.DefaultMaxLost, 5.
	MaxLost int
	// Keep is the retention time of tasks and groups that have ended. Default
	// driver.DefaultKeep, 7 days.
	Keep time.Duration
	// Patience is the time limit of the calls for which a client waits, such as Enqueue,
	// Get and Depth. After it they return jobs.ErrUnavailable. Default DefaultPatience,
	// 800 ms.
	Patience time.Duration
	// Meter counts lost leases, dead letters, restored tasks and missing tasks. Default
	// meter.NoMeter.
	Meter meter.Meter
	// Logger logs dead letters, errors of the server and settings of the server with
	// which tasks can be lost. Default: none.
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

// Store is a driver.Store in Redis. Create one with Open. One Store for each process is
// enough, but several also work.
type Store struct {
	opts    Options
	client  redis.UniversalClient
	key     string // prefix of all keys
	calls   calls
	hub     *hub
	batch   *batcher
	journal *journal
	checked atomic.Bool // whether checkServers has succeeded
	closed  chan struct{}
	close   func() error

	problems *redisdb.ProblemLog
	period   time.Duration // interval of audits, see auditPeriod
}

// auditPeriod is the interval at which a store searches for tasks that are in no queue
// because keys were deleted. It is also the time after which the keys of an unused queue
// are removed.
const auditPeriod = time.Hour

// Log messages of lasting faults.
const (
	troubleStore = "redis does not respond; tasks are refused until it does"
	troubleQueue = "queue cannot be served; other queues are not affected"
)

var _ driver.Store = (*Store)(nil)

// Open creates a store on the servers at address: a redis://, rediss:// or unix:// URL, or
// for a cluster several of them, separated by commas. It returns an error only for an
// invalid address. Other faults are logged, for example a server that does not respond, is
// older than Redis 7, refuses the password, or has tasks of a newer version of the program.
// Every call returns jobs.ErrUnavailable until
// they are repaired.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	j := newJournal()
	// A call is sent again once if the connection was closed by a restart of the server.
	// Every script may run twice.
	client, err := redisdb.Open(address, redisdb.Options{Dial: dialTimeout, IO: ioTimeout, Retries: 1, OnConnect: j.onConnect, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("open task store: %w", err)
	}
	s := newStore(client, j, o)
	if err := s.checkServers(ctx); err != nil {
		s.problems.Report(troubleStore, "", err)
	}
	return s, nil
}

func newStore(client redis.UniversalClient, j *journal, o Options) *Store {
	makeScripts()
	o = o.withDefaults()
	s := &Store{opts: o, client: client, journal: j, key: "{" + o.Prefix + ":jobs}", closed: make(chan struct{})}
	s.batch = &batcher{send: s.sendAll}
	s.problems = redisdb.NewProblemLog(o.Logger)
	s.period = auditPeriod
	j.ping = s.ping
	j.log = o.Logger
	j.replay = func(ctx context.Context, e entry) error { _, err := s.callInTime(ctx, e.script, e.args...); return err }
	s.calls.handle = jobs.NewID()
	s.hub = newHub(client, s.key+":due", s.problems)
	s.close = sync.OnceValue(s.closeAll)
	return s
}

// Close ends every waiting Lease and Watch and closes the connections. Current leases stay
// valid until they expire. Later calls return jobs.ErrUnavailable. A second Close waits
// for the first and returns the same error.
func (s *Store) Close() error { return s.close() }

func (s *Store) closeAll() error {
	close(s.closed)
	s.hub.stop()
	s.batch.stop()
	s.journal.stop()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close task store: %w", err)
	}
	return nil
}
