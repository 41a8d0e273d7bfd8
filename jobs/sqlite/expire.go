package sqlite

import (
	"context"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// expiredSQL reads at most 200 tasks, which expire ends in one transaction.
const expiredSQL = `
	SELECT ` + columns + ` FROM tasks INDEXED BY tasks_expires
	WHERE expires <= ? AND expires IS NOT NULL AND due IS NOT NULL AND attempts = 0 ORDER BY expires LIMIT 200`

// expire cancels tasks that have not started and whose Expires has passed.
func (t *tx) expire(ctx context.Context) error {
	rows, err := t.rowsOf(ctx, expiredSQL, t.now.UnixMicro())
	for _, r := range rows {
		if err == nil {
			err = t.cancel(ctx, r, driver.ExpiredReason)
		}
	}
	return err
}

// expired reports whether expire would end the task.
func (r *row) expired(now time.Time) bool {
	return r.expires.Valid && r.expires.V <= now.UnixMicro() && r.task.Attempts == 0 && !r.task.State.Final()
}
