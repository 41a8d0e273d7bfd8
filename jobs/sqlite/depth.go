package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// depthSQL reads the tasks that have not ended and the dead letters, by index.
const depthSQL = `
	SELECT queue, sum(waiting), sum(scheduled), sum(running), sum(dead), min(oldest) FROM (
		SELECT queue, state <> 'running' AND due <= ?1 AS waiting, state <> 'running' AND due > ?1 AS scheduled,
			state = 'running' AS running, 0 AS dead, CASE WHEN state <> 'running' AND due <= ?1 THEN due END AS oldest
		FROM tasks INDEXED BY tasks_due WHERE due IS NOT NULL
		UNION ALL
		SELECT queue, 0, 0, 0, 1, NULL FROM tasks INDEXED BY tasks_dead WHERE state = 'dead' AND finished >= ?2)
	GROUP BY queue ORDER BY queue`

// Depth implements driver.Gauger. It reads every task that has not ended: about 100 ms for
// 100,000 tasks.
func (s *Store) Depth(ctx context.Context) ([]driver.Depth, error) {
	now := time.Now()
	all, err := s.depth(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("measure queues: %w", s.readError(ctx, err))
	}
	return all, nil
}

func (s *Store) depth(ctx context.Context, now time.Time) (all []driver.Depth, err error) {
	rows, err := s.read.query(ctx, depthSQL, now.UnixMicro(), now.Add(-s.opts.Keep).UnixMicro())
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	for rows.Next() {
		var d driver.Depth
		var oldest sql.Null[int64]
		if err := rows.Scan(&d.Queue, &d.Waiting, &d.Scheduled, &d.Running, &d.Dead, &oldest); err != nil {
			return nil, err
		}
		if oldest.Valid {
			d.Oldest = now.Sub(fromMicro(oldest.V))
		}
		all = append(all, d)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return s.withPaused(ctx, all)
}

// withPaused sets Paused, and adds the paused queues that have no tasks.
func (s *Store) withPaused(ctx context.Context, all []driver.Depth) ([]driver.Depth, error) {
	rows, err := s.read.query(ctx, `SELECT queue FROM paused ORDER BY queue`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	for rows.Next() {
		d := driver.Depth{Paused: true}
		if err := rows.Scan(&d.Queue); err != nil {
			return nil, err
		}
		i, there := slices.BinarySearchFunc(all, d, func(a, b driver.Depth) int { return strings.Compare(a.Queue, b.Queue) })
		if there {
			all[i].Paused = true
		} else {
			all = slices.Insert(all, i, d)
		}
	}
	return all, rows.Err()
}
