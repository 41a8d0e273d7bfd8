package sqlite

import (
	"context"
	"fmt"
	"time"
)

// Mark implements driver.Marker.
func (s *Store) Mark(ctx context.Context, name string, to time.Time) (was time.Time, err error) {
	err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
		var at int64
		found, err := tx.queryRow(ctx, `SELECT at FROM marks WHERE name = ?`, []any{name}, &at)
		if err != nil {
			return err
		}
		if found {
			was = fromMicro(at)
		}
		if to.IsZero() || found && to.UnixMicro() <= at {
			return nil
		}
		return tx.exec(ctx, `INSERT OR REPLACE INTO marks (name, at) VALUES (?, ?)`, name, to.UnixMicro())
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("mark %s: %w", name, err)
	}
	return was, nil
}
