package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// pollInterval is the longest sleep in Lease, also if the next task is due later: the clock
// may be set forward during the sleep.
const pollInterval = time.Second

// Lease implements driver.Leaser. A task becomes due at its RunAt, when its lease expires,
// or when its lease is reclaimed. If ctx ends during the write, Lease still returns the
// tasks that it has leased, because no other worker would get them before their leases
// expire.
func (s *Store) Lease(ctx context.Context, r driver.LeaseRequest) ([]*driver.Lease, error) {
	want, err := newWanted(r)
	if err != nil {
		return nil, fmt.Errorf("lease tasks: %w", err)
	}
	var w *waiter
	for {
		next, err := s.nextDue(ctx, want)
		if err != nil {
			return nil, leaseError(ctx, err)
		}
		if next <= time.Now().UnixMicro() || s.committer.tx.stepped() {
			leases, err := s.lease(ctx, want)
			if err != nil {
				return nil, leaseError(ctx, err)
			}
			if len(leases) > 0 {
				return leases, nil
			}
			continue // another worker was faster, or the clock was set
		}
		if w == nil {
			// Check once more, because earlier changes were not signalled to the waiter.
			w = s.poller.lease()
			defer s.poller.leave(w)
			continue
		}
		if err := s.sleep(ctx, w, time.Until(fromMicro(next))); err != nil {
			return nil, leaseError(ctx, err)
		}
	}
}

// sleep returns when a task may be due.
func (s *Store) sleep(ctx context.Context, w *waiter, d time.Duration) error {
	if d > s.pollInterval {
		d = sleep.Align(s.pollInterval)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.wake:
		return nil
	case <-timer.C:
		return nil
	case <-s.closed:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leaseError returns the cause of ctx, not wrapped, if the lease failed because ctx ended.
func leaseError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		return cause
	}
	return fmt.Errorf("lease tasks: %w", err)
}

// wanted is a LeaseRequest and its parts as JSON arguments for statements.
type wanted struct {
	driver.LeaseRequest
	queues, names string // JSON arrays
	limited       string // JSON object: interval in µs between two starts, by task name
}

func newWanted(r driver.LeaseRequest) (*wanted, error) {
	if r.Max < 1 {
		return nil, fmt.Errorf("LeaseRequest.Max is %d; it must be at least 1", r.Max)
	}
	queues, err := jsonText(r.Queues)
	if err != nil {
		return nil, err
	}
	names, err := jsonText(r.Names)
	if err != nil {
		return nil, err
	}
	every := make(map[string]int64, len(r.Rates))
	for name, rate := range r.Rates {
		every[name] = rate.Interval().Microseconds()
	}
	limited, err := json.Marshal(every)
	return &wanted{r, queues, names, string(limited)}, err
}

// never is the result of nextDue if there is no task.
const never = int64(1) << 62

// holdsSuspect is true if, at the time ?4, the owner ?3 has a current lease of a suspect.
const holdsSuspect = `EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_running
	WHERE worker = ?3 AND state = 'running' AND lost >= 2 AND due > ?4)`

// nextDueSQL searches the index once for each queue and name, so its cost does not depend
// on the number of tasks. Suspects are ignored for an owner that has one. A task with a
// rate limit, ?5, is due when its rate allows the next start (driver.MayStart). The next
// Expires counts for every worker, because any worker cancels expired tasks.
const nextDueSQL = `
	SELECT min(coalesce(min(max((
		SELECT due FROM tasks INDEXED BY tasks_due
		WHERE queue = q.value AND name = n.value AND due IS NOT NULL AND (lost < 2 OR NOT ` + holdsSuspect + `)
		ORDER BY due LIMIT 1),
		coalesce((SELECT next FROM rates JOIN json_each(?5) AS every ON every.key = rates.name
			WHERE rates.name = n.value AND next <= ?4 + every.value), 0))), ?6),
		coalesce((SELECT expires FROM tasks INDEXED BY tasks_expires
			WHERE expires IS NOT NULL AND due IS NOT NULL AND attempts = 0 ORDER BY expires LIMIT 1), ?6))
	FROM json_each(?1) AS q, json_each(?2) AS n WHERE q.value NOT IN (SELECT queue FROM paused)`

// The statements contain driver.SuspectAfter as the number 2. If the constant changes, this
// line does not compile.
var _ = [1]struct{}{}[driver.SuspectAfter-2]

// nextDue reads without the write lock, so that an idle worker never takes it.
func (s *Store) nextDue(ctx context.Context, want *wanted) (int64, error) {
	var next int64
	err := s.read.queryRow(ctx, nextDueSQL, want.queues, want.names, want.Owner, time.Now().UnixMicro(), want.limited, never).Scan(&next)
	if err != nil {
		return 0, s.readError(ctx, err)
	}
	return next, nil
}

func (s *Store) lease(ctx context.Context, want *wanted) (leases []*driver.Lease, err error) {
	err = s.committer.do(ctx, true, func(ctx context.Context, tx *tx) error {
		if err := tx.expire(ctx); err != nil {
			return err
		}
		var held int
		_, err := tx.queryRow(ctx, `SELECT `+holdsSuspect, []any{nil, nil, want.Owner, tx.now.UnixMicro()}, &held)
		if err != nil {
			return err
		}
		o := offer{wanted: want, suspects: 1 - held}
		if err := tx.readRates(ctx, &o); err != nil {
			return err
		}
		queues, err := tx.unpaused(ctx, want.Queues)
		if err != nil {
			return err
		}
		for _, queue := range queues {
			more, err := tx.lease(ctx, queue, &o, want.Max-len(leases))
			if err != nil {
				return err
			}
			leases = append(leases, more...)
		}
		return tx.writeRates(ctx, &o)
	})
	if err != nil {
		return nil, err
	}
	return leases, nil
}

// dueSQL reads the earliest tasks of each name from the index and merges them. The limit is an
// expression: SQLite plans a statement again after each change of a parameter that alone is
// the LIMIT.
const dueSQL = `
	SELECT ` + columns + ` FROM tasks WHERE seq IN (
		SELECT t.seq FROM json_each(?1) AS n JOIN tasks AS t ON t.seq IN (
			SELECT seq FROM tasks INDEXED BY tasks_due
			WHERE queue = ?2 AND name = n.value AND due <= ?3 AND (lost < 2 OR ?5) ORDER BY due, seq LIMIT ?4 + 0)
		ORDER BY t.due, t.seq LIMIT ?4 + 0)
	ORDER BY due, seq`

// lease leases up to limit tasks of one queue.
func (t *tx) lease(ctx context.Context, queue string, o *offer, limit int) ([]*driver.Lease, error) {
	var leases []*driver.Lease
	for len(leases) < limit {
		names, err := o.allowedNames(t.now.UnixMicro())
		if err != nil {
			return nil, err
		}
		found, err := t.rowsOf(ctx, dueSQL, names, queue, t.now.UnixMicro(), limit-len(leases), o.suspects > 0)
		if err != nil || len(found) == 0 {
			return leases, err
		}
		var granted []*row
		for _, r := range found {
			expired, dead := r.task.State == jobs.StateRunning, false
			if expired {
				if dead, err = t.countLost(ctx, r); err != nil {
					return nil, err
				}
			}
			switch {
			case dead:
			case o.take(r, t.now.UnixMicro()):
				granted = append(granted, r)
			case expired: // not leased again now: it became a suspect, or its rate limit is reached
				if err := t.requeue(ctx, r, t.now.UnixMicro()); err != nil {
					return nil, err
				}
			}
		}
		more, err := t.startAttempts(ctx, granted, o.Owner)
		if err != nil {
			return nil, err
		}
		leases = append(leases, more...)
	}
	return leases, nil
}

// startAttempts leases the tasks of the rows and clears their progress and note.
func (t *tx) startAttempts(ctx context.Context, rows []*row, owner string) ([]*driver.Lease, error) {
	now, until := t.now.UnixMicro(), t.now.Add(t.opts.LeaseTTL).UnixMicro()
	seqs := make([]int64, len(rows))
	leases := make([]*driver.Lease, len(rows))
	for i, r := range rows {
		task, started := &r.task, fromMicro(now)
		task.Version++
		task.Attempts++
		task.State, task.Worker, task.Started, task.Progress, task.Note, task.Result = jobs.StateRunning, owner, &started, 0, "", nil
		task.Lost = r.lost // an expired lease was counted in this transaction
		seqs[i], t.rows[r.seq] = r.seq, task.Version
		leases[i] = &driver.Lease{Task: task, Owner: owner, Attempt: task.Attempts}
	}
	list, err := jsonText(seqs)
	if err != nil {
		return nil, err
	}
	return leases, t.exec(ctx, `
		UPDATE tasks SET version = version + 1, state = 'running', attempts = attempts + 1, due = ?, worker = ?,
			started = ?, progress = 0, note = '', result = NULL, excused = 0
		WHERE seq IN (SELECT value FROM json_each(?))`, until, owner, now, list)
}

// rowsOf reads all rows, so that the caller can change them.
func (t *tx) rowsOf(ctx context.Context, query string, args ...any) ([]*row, error) {
	rows, err := t.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	var all []*row
	for rows.Next() {
		r := new(row)
		if err := r.scan(rows, t.now); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}
