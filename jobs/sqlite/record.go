package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// PutRecord implements driver.Keeper.
func (s *Store) PutRecord(ctx context.Context, kind string, r driver.Record, keep time.Duration) error {
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		return tx.exec(ctx, `INSERT OR REPLACE INTO records (kind, key, value, until) VALUES (?, ?, ?, ?)`,
			kind, r.Key, append([]byte{}, r.Value...), tx.now.Add(keep).UnixMicro())
	})
	if err != nil {
		return fmt.Errorf("store %s %s: %w", kind, r.Key, err)
	}
	return nil
}

// Record implements driver.Keeper. It does not wait for writers.
func (s *Store) Record(ctx context.Context, kind, key string) (value []byte, err error) {
	err = s.read.queryRow(ctx, `SELECT value FROM records WHERE kind = ? AND key = ? AND until > ?`, kind, key, time.Now().UnixMicro()).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read %s %s: %w", kind, key, jobs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, key, s.readError(ctx, err))
	}
	return value, nil
}

// Records implements driver.Keeper. It does not wait for writers.
func (s *Store) Records(ctx context.Context, kind string) ([]driver.Record, error) {
	all, err := s.records(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("read records of kind %s: %w", kind, s.readError(ctx, err))
	}
	return all, nil
}

func (s *Store) records(ctx context.Context, kind string) (all []driver.Record, err error) {
	rows, err := s.read.query(ctx, `SELECT key, value FROM records WHERE kind = ? AND until > ? ORDER BY key`, kind, time.Now().UnixMicro())
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	for rows.Next() {
		var r driver.Record
		if err := rows.Scan(&r.Key, &r.Value); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// RemoveRecord implements driver.Keeper.
func (s *Store) RemoveRecord(ctx context.Context, kind, key string) error {
	err := s.committer.do(ctx, false, func(ctx context.Context, tx *tx) error {
		return tx.exec(ctx, `DELETE FROM records WHERE kind = ? AND key = ?`, kind, key)
	})
	if err != nil {
		return fmt.Errorf("remove %s %s: %w", kind, key, err)
	}
	return nil
}
