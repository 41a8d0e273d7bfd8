package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const (
	driverName = "sqlite" // as modernc.org/sqlite registers itself

	// applicationID marks the file as a task store ("Gale"), so that the database of
	// another program is recognized.
	applicationID = 0x47616c65

	// setupLimit limits the time of Open when many processes create the file at once.
	setupLimit = 10 * time.Second
)

// migrations are the steps from one user_version to the next; the first one creates the
// tables. A released migration must not be changed. After each migration, processes of the
// previous version must still be able to use the file, because during a reload old
// children have it open.
var migrations = []string{schema1, schema2, schema3, schema4, schema5, schema6}

// schema1: times are microseconds since 1970, UTC.
//
// Lease searches by the column due: run_at for a waiting task, the end of the lease for a
// running one, NULL for one that has ended. Thus one partial index finds waiting tasks
// and expired leases, without the tasks that have ended. In this index the name comes
// before the time, so that a worker does not read a backlog of tasks that it cannot run.
//
// The column excused is 1 for a running task whose lost lease is not counted, because the
// same worker held a suspect. The state scheduled is not stored: such a task is queued with
// run_at in the future. Small columns come first, so that SQLite reads them without the
// overflow pages of large args.
const schema1 = `
CREATE TABLE tasks (
	seq         INTEGER PRIMARY KEY, -- order of acceptance
	version     INTEGER NOT NULL,
	id          TEXT    NOT NULL UNIQUE,
	queue       TEXT    NOT NULL,
	name        TEXT    NOT NULL,
	state       TEXT    NOT NULL,
	due         INTEGER,
	run_at      INTEGER NOT NULL,
	created     INTEGER NOT NULL,
	started     INTEGER,
	finished    INTEGER,
	timeout     INTEGER NOT NULL,    -- nanoseconds
	max_retries INTEGER NOT NULL,
	attempts    INTEGER NOT NULL,
	lost        INTEGER NOT NULL,    -- attempts whose worker went down
	worker      TEXT    NOT NULL,
	progress    INTEGER NOT NULL,
	note        TEXT    NOT NULL,
	error       TEXT    NOT NULL,
	artifacts   TEXT    NOT NULL,    -- JSON
	failures    TEXT    NOT NULL,    -- JSON
	result      TEXT,                -- JSON
	args        TEXT    NOT NULL,    -- JSON
	signature   BLOB,
	excused     INTEGER NOT NULL DEFAULT 0, -- running, and not to blame if its worker is lost
	group_seq   INTEGER,
	member      INTEGER NOT NULL DEFAULT 0  -- its place in the group
) STRICT;
CREATE TABLE groups (
	seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: members refer to it
	id          TEXT    NOT NULL UNIQUE,
	created     INTEGER NOT NULL,
	finished    INTEGER,
	size        INTEGER NOT NULL,
	succeeded   INTEGER NOT NULL DEFAULT 0,
	failed      INTEGER NOT NULL DEFAULT 0,
	members     TEXT    NOT NULL,    -- JSON
	immutable   INTEGER NOT NULL,
	callback_id TEXT    NOT NULL,
	callback    TEXT                 -- JSON, a jobs.NewTask
) STRICT;
CREATE INDEX tasks_due ON tasks (queue, name, due) WHERE due IS NOT NULL;
CREATE INDEX tasks_running ON tasks (worker) WHERE state = 'running';
CREATE INDEX tasks_dead ON tasks (queue) WHERE state = 'dead';
CREATE INDEX tasks_finished ON tasks (finished) WHERE finished IS NOT NULL;
CREATE INDEX tasks_group ON tasks (group_seq, member) WHERE group_seq IS NOT NULL;
CREATE INDEX groups_finished ON groups (finished) WHERE finished IS NOT NULL;
`

// schema2 adds expiry, unique keys, paused queues, rates, marks and logs. The column
// expires has no effect once an attempt has started.
const schema2 = `
ALTER TABLE tasks ADD COLUMN expires INTEGER;
CREATE INDEX tasks_expires ON tasks (expires) WHERE expires IS NOT NULL AND due IS NOT NULL AND attempts = 0;
ALTER TABLE groups ADD COLUMN failed_id TEXT NOT NULL DEFAULT ''; -- the first member that did not succeed
ALTER TABLE groups ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE TABLE uniques (
	name  TEXT    NOT NULL,
	key   TEXT    NOT NULL,
	until INTEGER NOT NULL,
	task  TEXT    NOT NULL, -- its id
	PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX uniques_until ON uniques (until);
CREATE TABLE paused (queue TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE rates (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID; -- next: earliest next start
CREATE TABLE marks (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE logs (seq INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TRIGGER tasks_deleted AFTER DELETE ON tasks BEGIN DELETE FROM logs WHERE seq = old.seq; END;
`

// schema3 adds reservations: a workflow reserves the ids of its later tasks. A reservation
// is deleted together with the task (after_task) or the group (after_group) that precedes
// the reserved task. Triggers do this, so that it also works when a process of the previous
// version, which has no code for reservations, changes the file.
const schema3 = `
ALTER TABLE tasks ADD COLUMN workflow TEXT NOT NULL DEFAULT ''; -- id of its workflow; empty for a member of a group
ALTER TABLE tasks ADD COLUMN followers TEXT;                    -- JSON, ids of the tasks that may follow it
ALTER TABLE tasks ADD COLUMN digest TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN aborted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN followers TEXT;                   -- JSON; NULL if the group was accepted under schema 2
ALTER TABLE groups ADD COLUMN digest TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN aborted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE reserved (
	id          TEXT PRIMARY KEY,
	workflow    TEXT NOT NULL, -- its id
	after_task  INTEGER,       -- seq of what carries it, one of these
	after_group INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX reserved_task ON reserved (after_task) WHERE after_task IS NOT NULL;
CREATE INDEX reserved_group ON reserved (after_group) WHERE after_group IS NOT NULL;
CREATE TRIGGER reserved_accepted AFTER INSERT ON tasks WHEN EXISTS (SELECT 1 FROM reserved WHERE id = new.id) BEGIN
	UPDATE tasks SET workflow = (SELECT workflow FROM reserved WHERE id = new.id) WHERE seq = new.seq;
	DELETE FROM reserved WHERE id = new.id;
END;
CREATE TRIGGER reserved_task_deleted AFTER DELETE ON tasks BEGIN DELETE FROM reserved WHERE after_task = old.seq; END;
CREATE TRIGGER reserved_group_deleted AFTER DELETE ON groups BEGIN DELETE FROM reserved WHERE after_group = old.seq; END;
`

// schema4 adds arguments by name, headers, and groups that are part of a chain. A process of
// the previous version does not accept tasks with these, and ignores them.
const schema4 = `
ALTER TABLE tasks ADD COLUMN kwargs TEXT;  -- JSON; NULL for a task that takes arguments by position
ALTER TABLE tasks ADD COLUMN headers TEXT; -- JSON
ALTER TABLE groups ADD COLUMN workflow TEXT NOT NULL DEFAULT ''; -- id of the chain of which it is a part
`

// schema5 adds the leases that have ended their attempts themselves, and records.
const schema5 = `
ALTER TABLE tasks ADD COLUMN ended TEXT; -- JSON; NULL if there are none
CREATE TABLE records (
	kind  TEXT    NOT NULL,
	key   TEXT    NOT NULL,
	value BLOB    NOT NULL,
	until INTEGER NOT NULL,
	PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_until ON records (until);
`

// schema6 adds the last known difference between the wall clock and the monotonic clock of the
// machine, in nanoseconds, see followClock. A process of the previous version ignores it.
const schema6 = `
CREATE TABLE clock (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, wall INTEGER NOT NULL) STRICT;
`

// dsn returns the path as a URI, which escapes all characters. SQLite must not create the
// file: create does, with the right mode.
func dsn(path string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Path: path}
	// Temporary data stays in memory: in a container there may be no other writable
	// folder than that of the file (https://www.sqlite.org/tempfiles.html, § 5).
	pragmas = append(pragmas, "temp_store(MEMORY)")
	u.RawQuery = url.Values{"mode": {"rw"}, "_pragma": pragmas}.Encode()
	return u.String()
}

// create creates an empty file of mode 0600 unless it exists; SQLite gives the same mode to
// -wal and -shm. The file is closed before it gets its name: to close a descriptor of a
// file drops all POSIX locks that the process has on it, also those of another Store
// (https://www.sqlite.org/howtocorrupt.html, § 2.2).
func create(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the file is empty
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// setup opens a connection, switches the file to WAL mode and migrates it to the newest
// schema. After a busy error it repeats all of this for up to setupLimit: while another
// process changes the journal mode or recovers the WAL, SQLite returns busy at once,
// without calling a busy handler.
func setup(db *sql.DB) (*sql.Conn, error) {
	for start := time.Now(); ; pause(start) {
		conn, err := db.Conn(context.Background())
		if err == nil {
			if err = trySetup(conn); err == nil {
				return conn, nil
			}
			err = errors.Join(err, conn.Close())
		}
		if !busy(err) || time.Since(start) > setupLimit {
			return nil, err
		}
	}
}

func trySetup(c *sql.Conn) error {
	// Check the version before any change: a file of a newer version must not be changed.
	version, err := schemaVersion(c)
	if err != nil {
		return err
	}
	ctx := context.Background()
	var mode string
	if err := c.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system does not support WAL mode (journal mode is %s); use a local file system for -data", mode)
	}
	if version == len(migrations) {
		return nil
	}
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := migrate(c); err != nil {
		_, rollback := c.ExecContext(ctx, "ROLLBACK")
		return errors.Join(err, rollback)
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return err
}

// migrate runs inside a transaction. It reads the version again, because another process
// may have migrated the file in the meantime.
func migrate(c *sql.Conn) error {
	version, err := schemaVersion(c)
	if err != nil {
		return err
	}
	for _, m := range migrations[version:] {
		if _, err := c.ExecContext(context.Background(), m); err != nil {
			return err
		}
	}
	_, err = c.ExecContext(context.Background(), fmt.Sprintf(
		"PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(migrations)))
	return err
}

// schemaVersion returns the number of migrations of the file, 0 for a new one.
func schemaVersion(c *sql.Conn) (version int, err error) {
	var id, objects int
	row := c.QueryRowContext(context.Background(), `
		SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`)
	if err := row.Scan(&id, &version, &objects); err != nil {
		return 0, err
	}
	switch {
	case id == applicationID && version > len(migrations):
		return 0, fmt.Errorf("its schema %d was made by a newer version of the program; this version supports up to schema %d", version, len(migrations))
	case id == applicationID, objects == 0 && id == 0 && version == 0:
		return version, nil
	}
	return 0, errors.New("it is the database of another program; choose another -data")
}
