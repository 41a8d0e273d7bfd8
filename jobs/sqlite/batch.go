package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// tx is the transaction in which a write runs. Each statement is prepared once and used
// until the connection is closed. Statements run with the context of the committer, which
// is never cancelled: an interrupted statement of one caller would roll back the whole
// batch.
type tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // prepared statements by their SQL text
	opts  Options
	swept time.Time // last time at which sweep left no expired rows

	clocks clocks
	boot   string                        // id of the start of the machine
	offset atomic.Pointer[time.Duration] // of the clocks, as it is stored in the file; nil: not read yet
	up     time.Duration                 // since the start of the machine
	// noSweep is a value of up until which nothing is deleted by age, because the clock was set.
	noSweep time.Duration

	now  time.Time       // time of the transaction, read after the lock was acquired
	rows map[int64]int64 // new version of each changed row, by seq
	due  bool            // whether a task became due, or its due time is now earlier
}

func (t *tx) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := t.stmts[query]; s != nil {
		return s, nil
	}
	s, err := t.conn.PrepareContext(ctx, query)
	if err == nil {
		t.stmts[query] = s
	}
	return s, err
}

// close closes the statements and the connection. database/sql does not close the
// statements of a sql.Conn, and SQLite keeps the file open while a statement exists.
func (t *tx) close() error {
	var errs []error
	for _, s := range t.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, t.conn.Close())...)
}

func (t *tx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.change(ctx, query, args...)
	return err
}

// change returns how many rows the statement changed.
func (t *tx) change(ctx context.Context, query string, args ...any) (int64, error) {
	s, err := t.stmt(ctx, query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *tx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// queryRow reads one row, or none, into dest.
func (t *tx) queryRow(ctx context.Context, query string, args []any, dest ...any) (found bool, err error) {
	s, err := t.stmt(ctx, query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// setSync makes the next transaction durable if a waiting write needs it. It runs before
// the transaction, because SQLite does not allow this change inside one.
func (c *committer) setSync(ctx context.Context) error {
	c.mu.Lock()
	full := false
	for _, o := range c.waiting {
		full = full || o.durable
	}
	c.mu.Unlock()
	if full == c.full {
		return nil
	}
	level := "NORMAL"
	if full {
		level = "FULL"
	}
	// Not a prepared statement: pragmas may act when they are compiled and not
	// when they are run (https://www.sqlite.org/pragma.html).
	if _, err := c.tx.conn.ExecContext(ctx, "PRAGMA synchronous = "+level); err != nil {
		return err
	}
	c.full = full
	return nil
}

// take removes the writes for the current transaction from the waiting ones and returns
// them. If setSync has not made this transaction durable, durable writes that arrived
// since then wait for the next one.
func (c *committer) take() []*op {
	c.mu.Lock()
	defer c.mu.Unlock()
	var batch, rest []*op
	for _, o := range c.waiting {
		if len(batch) < batchLimit && (c.full || !o.durable) {
			batch = append(batch, o)
		} else {
			rest = append(rest, o)
		}
	}
	c.waiting = rest
	return batch
}

// commit runs the batch, commits it and returns the results to the callers.
func (c *committer) commit(ctx context.Context, batch []*op) {
	t := c.tx
	t.due = false
	clear(t.rows)
	offset, err := t.followClock(ctx)
	if err == nil {
		err = t.runAll(ctx, batch)
	}
	if err == nil {
		err = t.sweep(ctx)
	}
	if err == nil {
		err = t.exec(ctx, "COMMIT")
	}
	if err != nil {
		// After some errors SQLite has rolled back already, and ROLLBACK fails; either
		// way no transaction is left (https://www.sqlite.org/lang_transaction.html, § 3).
		_ = t.exec(ctx, "ROLLBACK")
		err = unavailable(err)
	} else {
		t.offset.Store(&offset)
		c.committed(t.rows, t.due)
	}
	for _, o := range batch {
		if err != nil {
			o.err = err
		}
		o.done <- o.err
	}
}

// runAll runs each write in a savepoint, so that a failed write changes nothing and does
// not affect the others. It returns an error only if the whole transaction is lost.
func (t *tx) runAll(ctx context.Context, batch []*op) error {
	for _, o := range batch {
		if err := t.exec(ctx, "SAVEPOINT op"); err != nil {
			return err
		}
		if o.err = unavailable(o.run(ctx, t)); o.err != nil {
			if err := t.exec(ctx, "ROLLBACK TO op"); err != nil {
				return fmt.Errorf("%w (%w)", o.err, err)
			}
		}
		if err := t.exec(ctx, "RELEASE op"); err != nil {
			return errors.Join(o.err, err)
		}
	}
	return nil
}
