package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"sync"
	"time"

	"modernc.org/sqlite" // also registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	busyTimeout  = 5 * time.Second  // longest wait for the lock of another process
	setupTimeout = 30 * time.Second // longest time for the creation of the database
)

// schema may be executed any number of times.
const schema = `
CREATE TABLE IF NOT EXISTS authors (
	id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE COLLATE NOCASE, name TEXT NOT NULL, password BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
	id INTEGER PRIMARY KEY, author INTEGER NOT NULL REFERENCES authors (id), slug TEXT NOT NULL UNIQUE,
	title TEXT NOT NULL, markdown TEXT NOT NULL, html TEXT NOT NULL, published INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_published ON entries (published);`

// Errors of the store.
var (
	errNotFound     = errors.New("no such row")
	errAuthorExists = errors.New("the blog has an author already")
)

// author is a row of authors.
type author struct {
	ID          int64
	Email, Name string
	password    []byte // bcrypt hash
}

// entry is a row of entries.
type entry struct {
	ID                    int64
	Slug, Title, Markdown string
	HTML                  template.HTML // made from Markdown, without HTML of the author
	Published, Updated    time.Time
}

// Day returns the day of publication for a page.
func (e entry) Day() string { return e.Published.Format("January 2, 2006") }

// store reads and writes the database. It opens the database on the first use, because
// Application.Routes must not do any work.
type store struct {
	path string

	mu sync.Mutex
	db *sql.DB // nil until it could be opened
}

func (s *store) open(ctx context.Context) (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		db, err := open(ctx, s.path)
		if err != nil {
			return nil, err
		}
		s.db = db
	}
	return s.db, nil
}

// open opens the database, and creates it if it is missing. Several processes may do so at
// the same time: while one of them changes the journal mode, SQLite returns an error to the
// others at once, and open tries again.
func open(ctx context.Context, path string) (*sql.DB, error) {
	source := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "foreign_keys(1)"}, "_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", source.String())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db.SetConnMaxIdleTime(time.Minute)
	for end := time.Now().Add(setupTimeout); ; {
		err := setup(ctx, db)
		if err == nil {
			return db, nil
		}
		if !isBusy(err) || time.Now().After(end) {
			return nil, fmt.Errorf("open database %s: %w", path, errors.Join(err, db.Close()))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), db.Close())
		}
	}
}

// setup switches the database to a write-ahead log, so that readers do not wait for
// writers, and creates the tables.
func setup(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// isBusy reports whether err is SQLITE_BUSY.
func isBusy(err error) bool {
	fault, ok := errors.AsType[*sqlite.Error](err)
	return ok && fault.Code()&0xff == sqlite3.SQLITE_BUSY
}

// hasAuthor reports whether there is an author.
func (s *store) hasAuthor(ctx context.Context) (found bool, err error) {
	db, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM authors)").Scan(&found)
	return found, err
}

// createAuthor creates the first author. If there is one already, possibly since a moment
// ago by another process, the error is errAuthorExists.
func (s *store) createAuthor(ctx context.Context, a author) (id int64, err error) {
	db, err := s.open(ctx)
	if err != nil {
		return 0, err
	}
	result, err := db.ExecContext(ctx, `INSERT INTO authors (email, name, password)
		SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM authors)`, a.Email, a.Name, a.password)
	if err != nil {
		return 0, fmt.Errorf("create author: %w", err)
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = errAuthorExists
	}
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// authorBy finds an author by a column, which is id or email.
func (s *store) authorBy(ctx context.Context, column string, value any) (*author, error) {
	db, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	var a author
	err = db.QueryRowContext(ctx, "SELECT id, email, name, password FROM authors WHERE "+column+" = ?", value).
		Scan(&a.ID, &a.Email, &a.Name, &a.password)
	if err != nil {
		return nil, notFound(err)
	}
	return &a, nil
}

// notFound returns errNotFound if err says that a query found no row, and else err.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return errNotFound
	}
	return err
}
