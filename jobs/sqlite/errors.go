package sqlite

import (
	"context"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/galeserver/gale/jobs"
)

var errClosed = fmt.Errorf("%w: it is closed", jobs.ErrUnavailable)

// reasons are SQLite's primary result codes that say something of the file or
// the machine, not of the statement (https://www.sqlite.org/rescode.html).
var reasons = map[int]string{
	sqlite3.SQLITE_BUSY:     "another process holds the lock",
	sqlite3.SQLITE_LOCKED:   "another process holds the lock",
	sqlite3.SQLITE_PROTOCOL: "another process holds the lock",
	sqlite3.SQLITE_FULL:     "the disk is full",
	sqlite3.SQLITE_IOERR:    "the disk fails",
	sqlite3.SQLITE_READONLY: "the file is read-only",
	sqlite3.SQLITE_PERM:     "the file may not be opened",
	sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
	sqlite3.SQLITE_NOMEM:    "out of memory",
	sqlite3.SQLITE_CORRUPT:  "the file is damaged",
	sqlite3.SQLITE_NOTADB:   "the file is not a task store, or damaged",
}

// code returns SQLite's primary result code, or 0 if err is not SQLite's. The
// driver turns extended codes on; the low byte is the primary one.
func code(err error) int {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

func busy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}

// unavailable wraps err in jobs.ErrUnavailable with a reason if the file or
// the machine is at fault. The error of a statement is a fault of this package
// and comes back as it is.
func unavailable(err error) error {
	if reason, ok := reasons[code(err)]; ok && !errors.Is(err, jobs.ErrUnavailable) {
		return fmt.Errorf("%w: %s: %w", jobs.ErrUnavailable, reason, err)
	}
	return err
}

// readError is unavailable for the read pool, where database/sql has errors of
// its own: the context's, and that of a pool that Close has closed.
func (s *Store) readError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	select {
	case <-s.closed:
		return errClosed
	default:
		return unavailable(err)
	}
}
