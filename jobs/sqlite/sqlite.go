// Package sqlite keeps tasks in one SQLite file (modernc.org/sqlite, pure Go):
// the jobs.Store of a machine on which nothing is installed. Every process that
// takes part opens the file itself, and WAL mode lets them read while one
// writes.
//
//	Enqueue Lease Finish …         Get          Lease and Watch, waiting
//	         │                      │                     │
//	   committer                read pool               poller
//	   one connection, one      query_only, a           PRAGMA data_version
//	   transaction for all      snapshot each           every Poll
//	   that waits
//	         └──────────────────────┼─────────────────────┘
//	            jobs.db  jobs.db-wal  jobs.db-shm  jobs.db-turn
//
// Neither goroutine exists while there is nothing for it to do: the committer
// is started by the first write that waits and ends with the last, the poller
// likewise by the first Lease or Watch that must wait. Close waits for both.
//
// What is durable: Enqueue, Lease, Finish and Reclaim return after an fsync
// (synchronous=FULL); Extend, Release and Progress survive kill -9 but may be
// undone by a power failure, which ends their workers too.
package sqlite

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// DefaultPoll is how often a waiting Store looks for changes that another
// process made.
const DefaultPoll = 25 * time.Millisecond

// readers is how many connections read at once, the poller's included: a read
// takes some 50 µs, and each connection may cache 2 MiB.
const readers = 4

// Options configure a Store. The zero value is the documented default.
type Options struct {
	// LeaseTTL is how long a task stays with a worker that has not been heard
	// of. Default driver.DefaultLeaseTTL, 30 s.
	LeaseTTL time.Duration
	// MaxLost is how many lost leases make a task dead. Default
	// driver.DefaultMaxLost, 5.
	MaxLost int
	// Poll is how often a Store with a waiting Lease or Watch looks for what
	// other processes changed; changes made through this Store are seen at
	// once. Default DefaultPoll, 25 ms.
	Poll time.Duration
	// Keep is how long a task that has ended stays. Default driver.DefaultKeep,
	// 7 days.
	Keep time.Duration
	// Meter counts tasks whose workers were lost. Default meter.NoMeter.
	Meter meter.Meter
	// Logger is told of tasks that end as dead and of long waits for another
	// process. Default: none.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.LeaseTTL = cmp.Or(o.LeaseTTL, driver.DefaultLeaseTTL)
	o.MaxLost = cmp.Or(o.MaxLost, driver.DefaultMaxLost)
	o.Keep = cmp.Or(o.Keep, driver.DefaultKeep)
	o.Poll = cmp.Or(o.Poll, DefaultPoll)
	if o.Meter == nil {
		o.Meter = meter.NoMeter{}
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// Store is a jobs.Store in a SQLite file. Make one with Open; one per process
// and file is enough, and several are harmless.
type Store struct {
	opts      Options
	committer *committer
	read      *sql.DB
	poller    *poller
	lookAgain time.Duration // see the constant; tests set it
	closed    chan struct{}
	close     func() error
}

var _ driver.Store = (*Store)(nil)

// Open opens the task store in the file path and creates it, readable by its
// owner only, if it is not there; the folder must exist. It waits up to 10 s
// for other processes that open the same file.
//
// A file of a newer Gale, another program's database and a file that is no
// database at all are refused with an error that names it, and left as they
// are.
func Open(path string, o Options) (*Store, error) {
	o = o.withDefaults()
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open task store: %w", err)
	}
	s, err := open(abs, o)
	if err != nil {
		return nil, fmt.Errorf("open task store %s: %w", path, unavailable(err))
	}
	return s, nil
}

func open(path string, o Options) (*Store, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	c, err := newCommitter(path, o)
	if err != nil {
		return nil, err
	}
	// query_only and not mode=ro: a read-only connection cannot recover the
	// WAL after a crash of its writer and would fail with READONLY_RECOVERY
	// until somebody writes (https://www.sqlite.org/wal.html#readonly).
	read, err := sql.Open(driverName, dsn(path, "busy_timeout(5000)", "query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	read.SetConnMaxIdleTime(time.Minute)
	s := &Store{opts: o, committer: c, read: read, lookAgain: lookAgain, closed: make(chan struct{})}
	s.poller = newPoller(read, o.Poll)
	c.committed = s.poller.committed
	s.close = sync.OnceValue(s.shut)
	return s, nil
}

// Close ends every waiting Lease and Watch, lets writes that already wait
// finish, and releases the file; the last process to close it folds the WAL
// back in. Leases stay until they expire. Methods called later return
// jobs.ErrUnavailable. A second Close waits for the first and returns the same.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.closed)
	s.committer.stop()
	s.poller.stop()
	if err := errors.Join(s.read.Close(), s.committer.close()); err != nil {
		return fmt.Errorf("close task store: %w", err)
	}
	return nil
}
