package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// tx is what a write sees of the transaction it runs in. Its statements are
// prepared once, for the life of the connection. The context that they are given
// is the committer's and never ends: to interrupt one caller's statement would
// be to undo the whole batch.
type tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	opts  Options
	swept time.Time // when all that has expired was last removed

	now  time.Time       // read once the lock is held: it may have been long in coming
	rows map[int64]int64 // changed rows and their new version
	due  bool            // a task is due that was not, or sooner
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

// close also closes the statements: those of one connection database/sql does
// not, and SQLite would keep the file open for them.
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

// setSync makes the next transaction durable if a waiting write asks for it.
// SQLite does not let it change inside a transaction.
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

// take returns the writes for the transaction that has begun. What must be
// durable and came too late for setSync stays for the next.
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

// commit runs the batch, commits it and answers its callers.
func (c *committer) commit(ctx context.Context, batch []*op) {
	t := c.tx
	t.now, t.due = time.Now(), false
	clear(t.rows)
	err := t.runAll(ctx, batch)
	if err == nil {
		err = t.sweep(ctx)
	}
	if err == nil {
		err = t.exec(ctx, "COMMIT")
	}
	if err != nil {
		// SQLite itself has rolled back after some errors, and then says that
		// there is no transaction; whichever it is, there is none afterwards
		// (https://www.sqlite.org/lang_transaction.html, § 3).
		_ = t.exec(ctx, "ROLLBACK")
		err = unavailable(err)
	} else {
		c.committed(t.rows, t.due)
	}
	for _, o := range batch {
		if err != nil {
			o.err = err
		}
		o.done <- o.err
	}
}

// runAll gives each write a savepoint: one that fails leaves nothing behind
// and does not touch its neighbours. It returns an error only if the whole
// transaction is lost.
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
