package sqlite

import (
	"context"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// countLost counts a lost lease of a task, unless the same owner held a suspect: then the
// suspect probably crashed the worker. After MaxLost lost leases the task becomes dead,
// because it may crash its workers. The state of the row must still be running.
func (t *tx) countLost(ctx context.Context, r *row) (dead bool, err error) {
	task := &r.task
	t.opts.Meter.Count(meter.EventRedelivered, task.Name, task.Queue)
	counts, err := t.countsAsLost(ctx, r)
	if err != nil || !counts {
		return false, err
	}
	return t.addLost(ctx, r)
}

// addLost counts a lost lease of a task.
func (t *tx) addLost(ctx context.Context, r *row) (dead bool, err error) {
	task := &r.task
	r.lost++
	if r.lost < t.opts.MaxLost {
		return false, t.exec(ctx, `UPDATE tasks SET lost = ? WHERE seq = ?`, r.lost, r.seq)
	}
	reason := driver.LostReason(r.lost)
	failures, err := jsonText(driver.AddFailure(task.Failures, jobs.Failure{Time: t.now.UTC(), Attempt: task.Attempts, Error: reason}))
	if err != nil {
		return false, err
	}
	t.opts.Logger.Warn("task is a dead letter: its lease was lost too often", "id", task.ID, "task", task.Name, "lost", r.lost)
	t.opts.Meter.Count(meter.EventDead, task.Name, task.Queue)
	t.rows[r.seq] = task.Version + 1
	err = t.exec(ctx, `
		UPDATE tasks SET version = version + 1, state = 'dead', due = NULL, result = NULL, lost = ?, finished = ?, error = ?, failures = ?
		WHERE seq = ?`, r.lost, t.now.UnixMicro(), reason, failures, r.seq)
	if err != nil {
		return true, err
	}
	if err := t.nextAfterError(ctx, jobs.NewTask{ID: task.ID, Name: task.Name, Signature: task.Signature, Headers: task.Headers}, task.WorkflowID(), reason); err != nil {
		return true, err
	}
	return true, t.memberEnded(ctx, r.member, task.ID, jobs.StateDead, reason)
}

const (
	// excuseSQL marks the other running tasks of the owner of a lost suspect. If their
	// leases expire later, they are not counted as lost.
	excuseSQL = `UPDATE tasks SET excused = 1 WHERE seq IN (
		SELECT seq FROM tasks INDEXED BY tasks_running WHERE worker = ? AND state = 'running' AND seq <> ?)`
	// excusedSQL is true if the task was marked by excuseSQL, or if its owner still has
	// a suspect, whose lease expires later.
	excusedSQL = `SELECT excused OR EXISTS (
		SELECT 1 FROM tasks AS other INDEXED BY tasks_running
		WHERE other.worker = tasks.worker AND other.state = 'running' AND other.lost >= 2)
		FROM tasks WHERE seq = ?`
)

// countsAsLost reports whether the lost lease of the row is counted.
func (t *tx) countsAsLost(ctx context.Context, r *row) (bool, error) {
	if r.suspect() {
		return true, t.exec(ctx, excuseSQL, r.task.Worker, r.seq)
	}
	var excused bool
	_, err := t.queryRow(ctx, excusedSQL, []any{r.seq}, &excused)
	return !excused, err
}
