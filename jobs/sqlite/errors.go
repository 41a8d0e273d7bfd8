package sqlite

import (
	"context"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/galeserver/gale/jobs"
)

var errClosed = fmt.Errorf("%w: it was closed in this process", jobs.ErrUnavailable)

// reasons are the texts for SQLite's primary result codes that are caused by the file or
// the machine, not by the statement (https://www.sqlite.org/rescode.html).
var reasons = map[int]string{
	sqlite3.SQLITE_BUSY:     "another process holds the lock",
	sqlite3.SQLITE_LOCKED:   "another process holds the lock",
	sqlite3.SQLITE_PROTOCOL: "another process holds the lock",
	sqlite3.SQLITE_FULL:     "the disk is full; free space in the folder of the file",
	sqlite3.SQLITE_IOERR:    "the disk reports an input/output error; check the disk and the system log",
	sqlite3.SQLITE_READONLY: "the file is read-only; check its owner and mode and those of its folder",
	sqlite3.SQLITE_PERM:     "no permission to open the file; check its owner and mode",
	sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that it is a file and its folder exists",
	sqlite3.SQLITE_NOMEM:    "out of memory",
	sqlite3.SQLITE_CORRUPT:  "the file is damaged; restore it from a backup",
	sqlite3.SQLITE_NOTADB:   "the file is damaged or not a task store; choose another -data or restore a backup",
}

// code returns the primary result code of an error of SQLite, or 0. The driver returns
// extended codes; their low byte is the primary code.
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

// unavailable wraps err in jobs.ErrUnavailable, with a reason, if the file or the machine
// is the cause. Any other error is a fault of this package and is returned unchanged.
func unavailable(err error) error {
	if reason, ok := reasons[code(err)]; ok && !errors.Is(err, jobs.ErrUnavailable) {
		return fmt.Errorf("%w: %s: %w", jobs.ErrUnavailable, reason, err)
	}
	return err
}

// readError translates an error of the read pool. Unlike the committer, that pool runs with
// the context of the caller, and Close may close it during a read. In these cases readError
// returns the cause of ctx or errClosed; other errors it passes to unavailable.
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
