package sqlite

import (
	"context"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// countLost counts a lease that ended without a word, unless a suspect in the
// same hands is to blame. A task that has lost too many is dead: it may well be
// what kills its workers. The row must still read as running.
func (t *tx) countLost(ctx context.Context, r *row) (dead bool, err error) {
	task := &r.task
	t.opts.Meter.Count(meter.EventRedelivered, task.Name, task.Queue)
	guilty, err := t.guilty(ctx, r)
	if err != nil || !guilty {
		return false, err
	}
	r.lost++
	if r.lost < t.opts.MaxLost {
		return false, t.exec(ctx, `UPDATE tasks SET lost = ? WHERE seq = ?`, r.lost, r.seq)
	}
	reason := driver.LostReason(r.lost)
	failures, err := jsonText(driver.AddFailure(task.Failures, jobs.Failure{Time: t.now.UTC(), Attempt: task.Attempts, Error: reason}))
	if err != nil {
		return false, err
	}
	t.opts.Logger.Warn("task took its worker down too often", "id", task.ID, "task", task.Name, "lost", r.lost)
	t.opts.Meter.Count(meter.EventDead, task.Name, task.Queue)
	t.rows[r.seq] = task.Version + 1
	err = t.exec(ctx, `
		UPDATE tasks SET version = version + 1, state = 'dead', due = NULL, lost = ?, finished = ?, error = ?, failures = ?
		WHERE seq = ?`, r.lost, t.now.UnixMicro(), reason, failures, r.seq)
	if err != nil {
		return true, err
	}
	return true, t.memberEnded(ctx, r.member, task.ID, jobs.StateDead, reason)
}

const (
	// excuseSQL remembers for the neighbours of a lost suspect, whose leases may
	// expire after its own, that they are not to blame.
	excuseSQL = `UPDATE tasks SET excused = 1 WHERE seq IN (
		SELECT seq FROM tasks INDEXED BY tasks_running WHERE worker = ? AND state = 'running' AND seq <> ?)`
	// excusedSQL also finds the suspect whose lease expires after its neighbours'.
	excusedSQL = `SELECT excused OR EXISTS (
		SELECT 1 FROM tasks AS other INDEXED BY tasks_running
		WHERE other.worker = tasks.worker AND other.state = 'running' AND other.lost >= 2)
		FROM tasks WHERE seq = ?`
)

// guilty reports whether a lost task counts as lost.
func (t *tx) guilty(ctx context.Context, r *row) (bool, error) {
	if r.suspect() {
		return true, t.exec(ctx, excuseSQL, r.task.Worker, r.seq)
	}
	var excused bool
	_, err := t.queryRow(ctx, excusedSQL, []any{r.seq}, &excused)
	return !excused, err
}
