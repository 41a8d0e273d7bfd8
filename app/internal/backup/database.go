package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// databaseHead are the first bytes of each SQLite database
// (https://www.sqlite.org/fileformat.html#magic_header_string).
const databaseHead = "SQLite format 3\x00"

// lockTimeout is how long a copy waits for processes that write to the database.
const lockTimeout = 30 * time.Second

// isDatabase reports whether a file is an SQLite database. It does not move the offset.
func isDatabase(f io.ReaderAt) bool {
	head := make([]byte, len(databaseHead))
	n, _ := f.ReadAt(head, 0) // a shorter file is none
	return string(head[:n]) == databaseHead
}

// besideDatabase reports whether a file is the log, the journal or the shared memory of a
// database, whose content copyDatabase copies.
func (c *copier) besideDatabase(name string) bool {
	for _, end := range []string{"-wal", "-shm", "-journal"} {
		main, ok := strings.CutSuffix(name, end)
		if !ok {
			continue
		}
		f, err := c.from.Open(main)
		if err != nil {
			return false
		}
		defer func() { _ = f.Close() }() // opened for reading only
		return isDatabase(f)
	}
	return false
}

// copyDatabase copies a database as it is at one moment, while other processes use it
// (https://www.sqlite.org/lang_vacuum.html#vacuuminto).
func copyDatabase(ctx context.Context, from, to string) (err error) {
	dsn := url.URL{Scheme: "file", Path: from, RawQuery: url.Values{
		"mode":    {"rw"}, // the log of a killed process may have to be recovered
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", lockTimeout.Milliseconds())},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return fmt.Errorf("copy database %s: %w", from, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// VACUUM INTO writes to an empty file, which has the mode that it should have.
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err == nil {
		if uid, gid, ok := ownerToKeep(info); ok {
			err = f.Chown(uid, gid)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("copy database %s: %w", from, err)
	}
	return nil
}
