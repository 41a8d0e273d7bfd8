// Package quota limits the sum of the sizes of the files of an uploads.Store, for
// directories and for senders. It implements uploads.Quota.
//
// A Ledger is a SQLite file with one row for each stored file. A file is added to it before
// it gets its name, in the transaction that checks the limits, so that uploads at the same
// time cannot exceed them, in any number of processes. A process that is killed in between
// leaves a row without a file, and files can be removed without the server. Run counts the
// files again, at most once per hour, and corrects that.
//
// The ledger is a file of one machine. If several machines share object storage, each has a
// ledger of its own.
package quota

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"modernc.org/sqlite" // also registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/uploads"
)

// Options configure a Ledger. The zero value has no limits.
type Options struct {
	// Directories are the limits of directories, in bytes. A directory includes those below
	// it, and the empty one all files.
	Directories map[string]int64
	// Subject is the limit of each sender, in bytes. Senders without a name have none, and
	// files that were stored before the ledger was created count for nobody. Default: no
	// limit.
	Subject int64
	// Refused is called for each file that would exceed a limit. Nil: no call.
	Refused func()
	// Logger gets a line for each refused file and each correction. Nil: nothing is logged.
	Logger *slog.Logger
}

// Ledger counts the files of a store. Open makes one. Its methods may be called from several
// goroutines at once, and several processes may use the same file.
type Ledger struct {
	opts Options
	log  *slog.Logger
	db   *sql.DB
}

// schema makes the tables. Triggers keep the sums.
const schema = `
CREATE TABLE IF NOT EXISTS files (
	id        TEXT PRIMARY KEY,
	directory TEXT NOT NULL,
	filename  TEXT NOT NULL,
	subject   TEXT NOT NULL,
	size      INTEGER NOT NULL,
	added     INTEGER NOT NULL -- Unix time in seconds
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_name ON files (directory, filename);
CREATE TABLE IF NOT EXISTS sums (
	kind  TEXT NOT NULL, -- directory or subject
	name  TEXT NOT NULL,
	bytes INTEGER NOT NULL,
	PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS files_add AFTER INSERT ON files BEGIN
	INSERT INTO sums VALUES ('directory', new.directory, new.size), ('subject', new.subject, new.size)
		ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER IF NOT EXISTS files_remove AFTER DELETE ON files BEGIN
	UPDATE sums SET bytes = bytes - old.size WHERE kind = 'directory' AND name = old.directory OR kind = 'subject' AND name = old.subject;
	DELETE FROM sums WHERE bytes = 0 AND (kind = 'directory' AND name = old.directory OR kind = 'subject' AND name = old.subject);
END;
CREATE TABLE IF NOT EXISTS counts (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL);
INSERT OR IGNORE INTO counts VALUES (1, 0);
`

// Open opens the ledger in a file, and creates it if it is missing.
func Open(ctx context.Context, path string, o Options) (*Ledger, error) {
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: pragmas.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open quotas: %w", err)
	}
	db.SetMaxOpenConns(1) // a writer waits for the others in Go and not in SQLite
	l := &Ledger{opts: o, log: o.Logger, db: db}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	err = l.setUp(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open quotas: %s: %w", path, err), db.Close())
	}
	return l, nil
}

// setUp makes the tables. Processes that create the file at the same time can find it locked
// in spite of busy_timeout, while one of them changes the journal mode
// (https://www.sqlite.org/wal.html#sometimes_queries_return_sqlite_busy_in_wal_mode).
func (l *Ledger) setUp(ctx context.Context) error {
	for end := time.Now().Add(setUpLimit); ; {
		err := l.change(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, schema)
			return err
		})
		var failed *sqlite.Error
		if busy := errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_BUSY; !busy || time.Now().After(end) {
			return err
		}
		if !sleep.For(ctx, 10*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// setUpLimit limits the time of Open when many processes create the file at once.
const setUpLimit = 10 * time.Second

// Close closes the file.
func (l *Ledger) Close() error { return l.db.Close() }

// change runs fn in a transaction.
func (l *Ledger) change(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Check implements uploads.Quota.
func (l *Ledger) Check(ctx context.Context, p uploads.Permit, size int64) error {
	return l.result(ctx, p, size, l.check(ctx, l.db, p, size))
}

// Add implements uploads.Quota.
func (l *Ledger) Add(ctx context.Context, id string, p uploads.Permit, size int64) error {
	return l.result(ctx, p, size, l.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM files WHERE id = ?`, id); err != nil { // an earlier attempt
			return err
		}
		if err := l.check(ctx, tx, p, size); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)`, id, p.Directory, p.Filename, p.Subject, size, time.Now().Unix())
		return err
	}))
}

// Cancel implements uploads.Quota.
func (l *Ledger) Cancel(ctx context.Context, id string) error {
	return l.exec(ctx, `DELETE FROM files WHERE id = ?`, id)
}

// Remove implements uploads.Quota.
func (l *Ledger) Remove(ctx context.Context, directory, filename string) error {
	return l.exec(ctx, `DELETE FROM files WHERE directory = ? AND filename = ?`, directory, filename)
}

func (l *Ledger) exec(ctx context.Context, query string, args ...any) error {
	if _, err := l.db.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("change quotas: %w", err)
	}
	return nil
}

// result logs and counts a refusal, and wraps any other error.
func (l *Ledger) result(ctx context.Context, p uploads.Permit, size int64, err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, uploads.ErrQuota) {
		return fmt.Errorf("check quotas: %w", err)
	}
	l.log.InfoContext(ctx, "file refused by a quota", "directory", p.Directory, "filename", p.Filename, "subject", p.Subject, "bytes", size, "error", err)
	if l.opts.Refused != nil {
		l.opts.Refused()
	}
	return err
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// check returns an error that wraps uploads.ErrQuota if a file would exceed a limit.
func (l *Ledger) check(ctx context.Context, q querier, p uploads.Permit, size int64) error {
	for directory, limit := range l.opts.Directories {
		if !within(p.Directory, directory) {
			continue
		}
		query, args := `SELECT coalesce(sum(bytes), 0) FROM sums WHERE kind = 'directory'`, []any{}
		what := "all files"
		if directory != "" { // the character after a slash is 0
			query += ` AND (name = ?1 OR name >= ?1 || '/' AND name < ?1 || '0')`
			args, what = append(args, directory), "the directory "+directory
		}
		if err := exceeds(ctx, q, what, size, limit, query, args...); err != nil {
			return err
		}
	}
	if l.opts.Subject > 0 && p.Subject != "" {
		return exceeds(ctx, q, "this sender", size, l.opts.Subject, `SELECT coalesce(sum(bytes), 0) FROM sums WHERE kind = 'subject' AND name = ?`, p.Subject)
	}
	return nil
}

// exceeds returns an error if the sum that a query returns, and size, are over a limit. A
// file of size 0 is refused if nothing is left.
func exceeds(ctx context.Context, q querier, what string, size, limit int64, query string, args ...any) error {
	var used int64
	if err := q.QueryRowContext(ctx, query, args...).Scan(&used); err != nil {
		return err
	}
	if left := limit - used; left <= 0 || size > left {
		return uploads.WithReason(uploads.ErrQuota, fmt.Sprintf("%s may have %d bytes, and %d are used", what, limit, used))
	}
	return nil
}

// within reports whether a directory is another one or below it.
func within(directory, outer string) bool {
	return outer == "" || directory == outer ||
		len(directory) > len(outer) && directory[:len(outer)] == outer && directory[len(outer)] == '/'
}
