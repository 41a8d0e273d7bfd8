package redisstream

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// PutRecord implements driver.Keeper.
func (s *Store) PutRecord(ctx context.Context, kind string, r driver.Record, keep time.Duration) error {
	if _, err := s.callInTime(ctx, recordScript, "put", kind, r.Key, r.Value, max(1, keep.Milliseconds())); err != nil {
		return fmt.Errorf("store %s %s: %w", kind, r.Key, err)
	}
	return nil
}

// Record implements driver.Keeper.
func (s *Store) Record(ctx context.Context, kind, key string) ([]byte, error) {
	all, err := s.records(ctx, "get", kind, key)
	if err == nil && len(all) == 0 {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, key, err)
	}
	return all[0].Value, nil
}

// Records implements driver.Keeper.
func (s *Store) Records(ctx context.Context, kind string) ([]driver.Record, error) {
	all, err := s.records(ctx, "list", kind)
	if err != nil {
		return nil, fmt.Errorf("read records of kind %s: %w", kind, err)
	}
	slices.SortFunc(all, func(a, b driver.Record) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

func (s *Store) records(ctx context.Context, args ...any) (all []driver.Record, err error) {
	reply, err := s.callInTime(ctx, recordScript, args...)
	if err != nil {
		return nil, err
	}
	for pair := range slices.Chunk(reply, 2) {
		if len(pair) != 2 {
			return nil, errReply
		}
		key, value, err := textPair(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		all = append(all, driver.Record{Key: key, Value: []byte(value)})
	}
	return all, nil
}

// RemoveRecord implements driver.Keeper.
func (s *Store) RemoveRecord(ctx context.Context, kind, key string) error {
	if _, err := s.callInTime(ctx, recordScript, "remove", kind, key); err != nil {
		return fmt.Errorf("remove %s %s: %w", kind, key, err)
	}
	return nil
}

// Unclaimed implements driver.Remote. In a queue that a worker serves, a task counts after a
// worker has skipped it.
func (s *Store) Unclaimed(ctx context.Context, workers []driver.Claim) (map[string]int, error) {
	var args []any
	for _, w := range workers {
		for _, q := range w.Queues {
			for _, n := range w.Names {
				args = append(args, q, n)
			}
		}
	}
	reply, err := s.callInTime(ctx, unclaimedScript, args...)
	if err != nil {
		return nil, fmt.Errorf("count unclaimed tasks: %w", err)
	}
	all := map[string]int{}
	for pair := range slices.Chunk(reply, 2) {
		if len(pair) != 2 {
			return nil, errReply
		}
		queue, text, err := textPair(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		if all[queue], err = strconv.Atoi(text); err != nil {
			return nil, errReply
		}
	}
	return all, nil
}
