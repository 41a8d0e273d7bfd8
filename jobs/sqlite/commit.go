package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs"
)

const (
	// lockLimit is how long a write waits for the write lock of other processes.
	lockLimit = 5 * time.Second
	// batchLimit is the largest number of writes in a transaction, so that the first
	// of them does not wait too long for the others.
	batchLimit = 256
)

// op is one write. It shares a transaction with others, but it can fail alone.
type op struct {
	durable bool // must survive a power failure
	run     func(context.Context, *tx) error
	since   time.Time  // time at which the write began to wait
	err     error      // result of run
	done    chan error // result for the caller; capacity 1, so that the committer never blocks
}

// committer is the only writer of this Store. Writes that arrive during a commit share
// the next transaction, and thus its fsync.
//
// Its goroutine runs only while writes are waiting. Two alternatives were rejected: if the
// first caller committed the writes of all callers, the others would depend on its
// context; if Open started the goroutine, programs that only read tasks would have it too.
type committer struct {
	path      string
	file      os.FileInfo // the file that was opened
	lock      *lock
	db        *sql.DB
	tx        *tx
	full      bool                               // PRAGMA synchronous is FULL
	committed func(rows map[int64]int64, d bool) // callback after each commit, see poller.committed

	mu      sync.Mutex
	waiting []*op
	running bool
	stopped bool
	ended   sync.WaitGroup
}

func newCommitter(path string, o Options) (*committer, error) {
	// No busy_timeout: setup and lock do the waiting.
	db, err := sql.Open(driverName, dsn(path, "synchronous(FULL)", "journal_size_limit(67108864)"))
	if err != nil {
		return nil, err
	}
	conn, err := setup(db)
	var file os.FileInfo
	if err == nil {
		file, err = os.Stat(path)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &committer{
		path: path, file: file, db: db, full: true,
		lock: openLock(path+"-turn", o.Logger),
		tx:   &tx{conn: conn, stmts: map[string]*sql.Stmt{}, rows: map[int64]int64{}, opts: o, clocks: systemClocks{}, boot: systemClocks{}.boot()},
	}, nil
}

// do runs fn in a transaction and returns the error of fn or of the commit. If it returns
// an error, nothing was changed. If ctx ends while the write waits for its transaction, do
// removes it from the waiting writes and returns jobs.ErrUnavailable with the cause. Once
// the write has started, do waits for its result even if ctx ends.
func (c *committer) do(ctx context.Context, durable bool, fn func(context.Context, *tx) error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	o := &op{durable: durable, run: fn, since: time.Now(), done: make(chan error, 1)}
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return errClosed
	}
	c.waiting = append(c.waiting, o)
	if !c.running {
		c.running = true
		c.ended.Go(c.run) // ends when no writes are waiting; stop waits for it
	}
	c.mu.Unlock()

	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
	}
	if c.withdraw(o) {
		return fmt.Errorf("%w: the write did not start before the time limit of the call: %w", jobs.ErrUnavailable, context.Cause(ctx))
	}
	return <-o.done
}

// withdraw removes a waiting write. It returns false if the write has already started.
func (c *committer) withdraw(o *op) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, o)
	if i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	return i >= 0
}

// stop refuses new writes and returns when all waiting writes are done.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.ended.Wait()
}

func (c *committer) close() error {
	return errors.Join(c.tx.close(), c.db.Close(), c.lock.close())
}

// run commits batches until no writes are waiting.
func (c *committer) run() {
	ctx := context.Background() // see tx
	for c.more() {
		switch err := c.begin(ctx); {
		case err == nil:
			c.commit(ctx, c.take())
		case !errors.Is(err, errNotNeeded):
			c.fail(unavailable(err), time.Now())
		}
	}
}

// more reports whether writes are waiting. If it returns false, the goroutine ends, and the
// next write starts a new one.
func (c *committer) more() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = len(c.waiting) > 0
	return c.running
}

// begin acquires the write lock. It fails the writes that have waited too long for it.
func (c *committer) begin(ctx context.Context) error {
	// SQLite would continue to write to a file that was deleted or replaced, and the
	// data would be lost with the process.
	now, err := os.Stat(c.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, c.file) {
		return fmt.Errorf("%w: the file %s was removed or replaced while it was open; restart the server to use the new file", jobs.ErrUnavailable, c.path)
	}
	if err := c.setSync(ctx); err != nil {
		return err
	}
	return c.lock.acquire(
		func() error { return c.tx.exec(ctx, "BEGIN IMMEDIATE") },
		func(err error) bool {
			if err == nil { // BEGIN was not tried: another process has the turn file
				err = errTurn
			}
			c.fail(unavailable(err), time.Now().Add(-lockLimit))
			return c.waits()
		})
}

var errTurn = fmt.Errorf("%w: other processes have held the write lock for too long", jobs.ErrUnavailable)

func (c *committer) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0
}

// fail removes the writes that began to wait at or before the given time and returns err to
// their callers.
func (c *committer) fail(err error, before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(o *op) bool {
		if o.since.After(before) {
			return false
		}
		o.done <- err
		return true
	})
}
