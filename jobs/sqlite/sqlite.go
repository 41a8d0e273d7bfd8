// Package sqlite is the task store for one machine, with nothing to install: it stores
// tasks in one SQLite file (modernc.org/sqlite, pure Go). Every process opens the file
// itself; WAL mode lets processes read while one writes.
//
//	Enqueue Lease Finish …         Get          Lease and Watch, waiting
//	         │                      │                     │
//	   committer                read pool               poller
//	   one connection, one      query_only, a           PRAGMA data_version
//	   transaction for all      snapshot each           every Poll
//	   waiting writes
//	         └──────────────────────┼─────────────────────┘
//	            jobs.db  jobs.db-wal  jobs.db-shm  jobs.db-turn
//
// The goroutine of the committer runs only while writes wait, and that of the poller only
// while a Lease or Watch waits. Close waits for both.
//
// Durability: Extend, Release, Progress and AppendLog survive kill -9, but a power failure
// may undo them. That is acceptable, because the power failure also ends the workers. All
// other writes (Enqueue, Lease, Finish, Cancel …) return after an fsync
// (synchronous=FULL).
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// DefaultPoll is the default of Options.Poll.
const DefaultPoll = 25 * time.Millisecond

// readers is the number of connections for reading, including the connection of the poller.
// A read takes about 50 µs, and each connection may cache 2 MiB.
const readers = 4

// Options configure a Store. The zero value is the documented default.
type Options struct {
	// LeaseTTL is the time after which a lease expires unless it is extended. Default
	// driver.DefaultLeaseTTL, 30 s.
	LeaseTTL time.Duration
	// MaxLost is the number of lost leases after which a task is dead. Default
	// driver.DefaultMaxLost, 5.
	MaxLost int
	// Poll is the interval at which a waiting Lease or Watch looks for changes by other
	// processes after a write to the file. Changes through this Store are detected at once.
	// Default DefaultPoll, 25 ms.
	Poll time.Duration
	// Keep is the retention time of tasks and groups that have ended. Default
	// driver.DefaultKeep, 7 days.
	Keep time.Duration
	// Meter counts lost leases and dead letters. Default meter.NoMeter.
	Meter meter.Meter
	// Logger logs dead letters and long waits for the write lock. Default: none.
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

// Store is a driver.Store in a SQLite file. Create one with Open. One Store for each process
// and file is enough, but several also work.
type Store struct {
	opts         Options
	committer    *committer
	read         *reader
	poller       *poller
	pollInterval time.Duration // longest sleep in Lease: the constant pollInterval, except in tests
	closed       chan struct{}
	close        func() error
}

var _ driver.Store = (*Store)(nil)

// Open opens the task store in the file path. It creates the file, with mode 0600, if it
// does not exist; the folder must exist. It waits up to 10 s for other processes that
// open the same file.
//
// The error names the file. A file of a newer version of the program, the database of
// another program, and a file that is no database are not changed.
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

// Check reports whether Open would refuse the file path because of its content: a file of a
// newer version of the program, the database of another program, or no database. It changes
// nothing. A file that does not exist is no error.
func Check(path string) error {
	abs, err := filepath.Abs(path)
	if err == nil {
		err = check(abs)
	}
	if err != nil && !busy(err) { // Open waits for other processes
		return fmt.Errorf("open task store %s: %w", path, unavailable(err))
	}
	return nil
}

func check(path string) (err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := sql.Open(driverName, dsn(path, "busy_timeout(5000)", "query_only(1)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = schemaVersion(conn)
	return err
}

func open(path string, o Options) (*Store, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	c, err := newCommitter(path, o)
	if err != nil {
		return nil, err
	}
	// query_only and not mode=ro: a read-only connection cannot recover the WAL after
	// a crash of a writer, and would fail with READONLY_RECOVERY until the next write
	// (https://www.sqlite.org/wal.html#readonly).
	db, err := sql.Open(driverName, dsn(path, "busy_timeout(5000)", "query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	db.SetConnMaxIdleTime(time.Minute)
	read := &reader{db: db, stmts: map[string]*sql.Stmt{}}
	s := &Store{opts: o, committer: c, read: read, pollInterval: pollInterval, closed: make(chan struct{})}
	s.poller = newPoller(db, o.Poll, &walWatch{path: path + "-wal"})
	c.committed = s.poller.committed
	s.close = sync.OnceValue(s.closeAll)
	return s, nil
}

// Close ends every waiting Lease and Watch, finishes waiting writes and closes the file.
// The last process to close it merges the WAL into the file. Current leases stay valid
// until they expire. Later calls return jobs.ErrUnavailable. A second Close waits for
// the first and returns the same error.
func (s *Store) Close() error { return s.close() }

func (s *Store) closeAll() error {
	close(s.closed)
	s.committer.stop()
	s.poller.stop()
	if err := errors.Join(s.read.close(), s.committer.close()); err != nil {
		return fmt.Errorf("close task store: %w", err)
	}
	return nil
}
