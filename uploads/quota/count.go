package quota

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/galeserver/gale/uploads"
)

const (
	// countInterval is the time between two counts. lookInterval is the time between two
	// looks whether one is due.
	countInterval = time.Hour
	lookInterval  = time.Minute
	// minAge is the age from which a row without a file is removed. A younger one may be of a
	// file that is about to get its name.
	minAge = time.Hour
)

// Run counts the files of a store until ctx ends: at once, and then each hour. Only one of the
// processes that have the ledger open counts at a time. Run returns nil.
func (l *Ledger) Run(ctx context.Context, store *uploads.Store) error {
	every := time.NewTicker(lookInterval)
	defer every.Stop()
	for {
		if err := l.countIfDue(ctx, store); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "files not counted for the quotas, will retry", "next_try", countInterval.String(), "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (l *Ledger) countIfDue(ctx context.Context, store *uploads.Store) error {
	now := time.Now()
	done, err := l.db.ExecContext(ctx, `UPDATE counts SET at = ? WHERE at <= ?`, now.Unix(), now.Add(-countInterval).Unix())
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err
	}
	return l.count(ctx, store, now)
}

// count adds the files of the store that have no row, and removes the rows that have no file
// and are older than minAge.
func (l *Ledger) count(ctx context.Context, store *uploads.Store, now time.Time) error {
	found := map[[2]string]bool{}
	added, removed := 0, 0
	err := eachFile(ctx, store, "", func(directory string, e uploads.Entry) error {
		found[[2]string{directory, e.Name}] = true
		n, err := l.addMissing(ctx, directory, e, now)
		added += n
		return err
	})
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	rows, err := l.oldRows(ctx, now.Add(-minAge))
	if err != nil {
		return err
	}
	for _, name := range rows {
		if found[name] {
			continue
		}
		// A file in quarantine is not listed, but its name is in use.
		err := store.Check(ctx, name[0], name[1])
		if errors.Is(err, uploads.ErrExists) {
			continue
		}
		if err != nil {
			return err
		}
		if err := l.exec(ctx, `DELETE FROM files WHERE directory = ? AND filename = ? AND added <= ?`, name[0], name[1], now.Add(-minAge).Unix()); err != nil {
			return err
		}
		removed++
	}
	if added > 0 || removed > 0 {
		l.log.InfoContext(ctx, "quotas corrected", "files_added", added, "files_removed", removed)
	}
	return nil
}

// addMissing adds a file that has no row, and leaves one row for a file that has several: a
// process was killed before an earlier upload of that name was stored.
func (l *Ledger) addMissing(ctx context.Context, directory string, e uploads.Entry, now time.Time) (added int, err error) {
	err = l.change(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM files WHERE directory = ? AND filename = ?`, directory, e.Name).Scan(&n); err != nil {
			return err
		}
		switch {
		case n == 0:
			added = 1
			_, err := tx.ExecContext(ctx, `INSERT INTO files VALUES (?, ?, ?, '', ?, ?)`, rand.Text(), directory, e.Name, e.Size, now.Unix())
			return err
		case n > 1:
			_, err := tx.ExecContext(ctx, `DELETE FROM files WHERE directory = ?1 AND filename = ?2 AND added <= ?3 AND id <> (
				SELECT id FROM files WHERE directory = ?1 AND filename = ?2 ORDER BY size = ?4 DESC, added DESC LIMIT 1)`,
				directory, e.Name, now.Add(-minAge).Unix(), e.Size)
			return err
		}
		return nil
	})
	return added, err
}

// oldRows returns the names of the rows that were added before a time.
func (l *Ledger) oldRows(ctx context.Context, before time.Time) (names [][2]string, err error) {
	rows, err := l.db.QueryContext(ctx, `SELECT DISTINCT directory, filename FROM files WHERE added <= ?`, before.Unix())
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports errors
	for rows.Next() {
		var name [2]string
		if err := rows.Scan(&name[0], &name[1]); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// eachFile calls fn for each file below a directory. Folders that are removed meanwhile are
// left out.
func eachFile(ctx context.Context, store *uploads.Store, directory string, fn func(directory string, e uploads.Entry) error) error {
	for after, more := "", true; more; more = after != "" {
		entries, next, err := store.List(ctx, directory, after, uploads.MaxList)
		after = next
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			switch {
			case !e.Folder && directory != "":
				err = fn(directory, e)
			case e.Folder && directory == "":
				err = eachFile(ctx, store, e.Name, fn)
			case e.Folder:
				err = eachFile(ctx, store, directory+"/"+e.Name, fn)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
