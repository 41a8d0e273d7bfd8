package sqlite

import (
	"context"
	"fmt"
	"slices"
)

// Pause implements jobs.Changer.
func (s *Store) Pause(ctx context.Context, queue string) error {
	err := s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
		return tx.exec(ctx, `INSERT OR IGNORE INTO paused (queue) VALUES (?)`, queue)
	})
	if err != nil {
		return fmt.Errorf("pause queue %s: %w", queue, err)
	}
	return nil
}

// Resume implements jobs.Changer.
func (s *Store) Resume(ctx context.Context, queue string) error {
	err := s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
		tx.due = true
		return tx.exec(ctx, `DELETE FROM paused WHERE queue = ?`, queue)
	})
	if err != nil {
		return fmt.Errorf("resume queue %s: %w", queue, err)
	}
	return nil
}

// unpaused returns the queues that are not paused.
func (t *tx) unpaused(ctx context.Context, queues []string) ([]string, error) {
	var some bool
	if _, err := t.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM paused)`, nil, &some); err != nil || !some {
		return queues, err
	}
	left := slices.Clone(queues)
	for _, q := range queues {
		var paused bool
		if _, err := t.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM paused WHERE queue = ?)`, []any{q}, &paused); err != nil {
			return nil, err
		}
		if paused {
			left = slices.DeleteFunc(left, func(name string) bool { return name == q })
		}
	}
	return left, nil
}
