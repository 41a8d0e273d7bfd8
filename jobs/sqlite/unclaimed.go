package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// unclaimedSQL counts due tasks by index. ?1 are the claims, a JSON array of pairs of queue
// and name.
const unclaimedSQL = `
	SELECT queue, count(*) FROM tasks INDEXED BY tasks_due
	WHERE due IS NOT NULL AND due <= ?2 AND state <> 'running' AND (queue, name) NOT IN (
		SELECT c.value ->> 0, c.value ->> 1 FROM json_each(?1) AS c)
	GROUP BY queue`

// Unclaimed implements driver.Remote. It reads every task that has not ended.
func (s *Store) Unclaimed(ctx context.Context, workers []driver.Claim) (map[string]int, error) {
	pairs := map[[2]string]bool{}
	for _, w := range workers {
		for _, q := range w.Queues {
			for _, n := range w.Names {
				pairs[[2]string{q, n}] = true
			}
		}
	}
	list := make([][2]string, 0, len(pairs))
	for p := range pairs {
		list = append(list, p)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	all, err := s.countUnclaimed(ctx, string(text))
	if err != nil {
		return nil, fmt.Errorf("count unclaimed tasks: %w", s.readError(ctx, err))
	}
	return all, nil
}

func (s *Store) countUnclaimed(ctx context.Context, claims string) (map[string]int, error) {
	rows, err := s.read.query(ctx, unclaimedSQL, claims, time.Now().UnixMicro())
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	all := map[string]int{}
	for rows.Next() {
		var queue string
		var n int
		if err := rows.Scan(&queue, &n); err != nil {
			return nil, err
		}
		all[queue] = n
	}
	return all, rows.Err()
}
