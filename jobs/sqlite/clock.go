package sqlite

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/clockset"
	"github.com/galeserver/gale/jobs"
)

// stepLimit is the difference from which a change of the wall clock counts as a step. Smaller
// ones have no effect, because leases last much longer.
const stepLimit = time.Second

// clocks reads the clocks of the machine. Tests replace it.
type clocks interface {
	// read returns the wall clock, and the time since the start of the machine.
	read() (time.Time, time.Duration)
	// boot returns an id of the start of the machine.
	boot() string
}

// systemClocks are the clocks of the system. All processes of the machine read the same.
type systemClocks struct{}

// read reads the monotonic clock before and after the wall clock, and again if the process was
// stopped in between.
func (systemClocks) read() (time.Time, time.Duration) {
	for {
		before := monotonic()
		now := time.Now()
		if monotonic()-before < stepLimit/10 {
			return now, before
		}
	}
}

func monotonic() time.Duration {
	var at unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &at) // cannot fail (clock_gettime(2))
	return time.Duration(at.Nano())
}

func (systemClocks) boot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it, a restart of the machine counts as a step
	return strings.TrimSpace(string(id))
}

// stepped reports whether the wall clock was set since the last transaction of this Store.
func (t *tx) stepped() bool {
	known := t.offset.Load()
	return known != nil && (offsetOf(t.clocks.read())-*known).Abs() >= stepLimit
}

// offsetOf is the difference between the wall clock and the time since the start of the machine.
// It changes only when the clock is set.
func offsetOf(now time.Time, up time.Duration) time.Duration {
	return time.Duration(now.UnixNano()) - up
}

// followClock compares the clock with the offset that is stored in the file. If the clock was
// set, it moves the times that were computed from durations, so that leases last as long as
// they would have, and what was due stays due. Only the first process that notices a step does
// so. Times that were given as such (RunAt, Expires) are not moved. It returns the offset, for
// the time after the commit.
func (t *tx) followClock(ctx context.Context) (time.Duration, error) {
	now, up := t.clocks.read()
	t.now, t.up = now, up
	offset := offsetOf(now, up)
	known := t.offset.Load()
	if known != nil && (offset-*known).Abs() < stepLimit {
		return *known, nil
	}
	if known != nil && offset-*known > clockset.Pause {
		t.noSweep = up + clockset.Pause
	}
	var boot string
	var stored int64
	found, err := t.queryRow(ctx, `SELECT boot, wall FROM clock`, nil, &boot, &stored)
	if err != nil {
		return 0, err
	}
	step := offset - time.Duration(stored)
	same := found && boot == t.boot
	if same && step.Abs() < stepLimit {
		return time.Duration(stored), nil
	}
	if same {
		t.opts.Logger.Warn("the clock was set: leases, rate limits and unique keys are moved with it", "by", step.Round(time.Millisecond))
		err = t.moveTimes(ctx, step.Microseconds())
	} else {
		err = t.limitTimes(ctx)
	}
	if err == nil {
		err = t.exec(ctx, `INSERT OR REPLACE INTO clock (id, boot, wall) VALUES (0, ?, ?)`, t.boot, int64(offset))
	}
	t.due = true // waiters read again
	return offset, err
}

// moveTimes moves times by a step in microseconds.
func (t *tx) moveTimes(ctx context.Context, step int64) error {
	before := t.now.UnixMicro() - step // present time before the step
	for _, statement := range []string{
		`UPDATE tasks INDEXED BY tasks_running SET due = due + ? WHERE state = 'running'`,
		`UPDATE uniques SET until = until + ?`,
		`UPDATE records SET until = until + ?`,
		`UPDATE rates SET next = next + ?`,
	} {
		if err := t.exec(ctx, statement, step); err != nil {
			return fmt.Errorf("move times: %w", err)
		}
	}
	if step > 0 {
		return nil
	}
	// The order of the tasks that are due stays the same.
	return t.exec(ctx, `UPDATE tasks SET due = due + ?1, run_at = min(run_at, due + ?1)
		WHERE due IS NOT NULL AND state <> 'running' AND (due <= ?2 OR state = 'retrying')`, step, before)
}

// limitTimes corrects times that are in the future only because the clock was set back before
// the machine was started: the ends of leases, and tasks that were due when they were accepted.
func (t *tx) limitTimes(ctx context.Context) error {
	now := t.now.UnixMicro()
	err := t.exec(ctx, `UPDATE tasks INDEXED BY tasks_running SET due = ?1 WHERE state = 'running' AND due > ?1`, t.now.Add(t.opts.LeaseTTL).UnixMicro())
	if err != nil {
		return err
	}
	return t.exec(ctx, `UPDATE tasks SET due = ?1, run_at = ?1 WHERE due > ?1 AND state = ?2 AND run_at <= created`, now, string(jobs.StateQueued))
}
