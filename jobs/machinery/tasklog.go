package machinery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// flushInterval is the interval at which the log lines of handlers are stored.
const flushInterval = time.Second

// taskLog buffers the log lines of a handler until they are stored with the task. Like
// the store, it keeps the last MaxLog bytes.
type taskLog struct {
	mu    sync.Mutex
	lines string

	flushing sync.Mutex // held during a write to the store, so that lines stay in order
}

// Write adds one line, as slog.TextHandler writes it.
func (k *taskLog) Write(line []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = driver.CutLog(k.lines + driver.LogLines(string(line)))
	return len(line), nil
}

// take removes and returns all buffered lines.
func (k *taskLog) take() (lines string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	lines, k.lines = k.lines, ""
	return lines
}

// putBack inserts lines that could not be stored before the buffered ones.
func (k *taskLog) putBack(lines string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = driver.CutLog(lines + k.lines)
}

// logger returns a logger that writes to log and to the task log. The attributes of log,
// such as the id, are left out of the task log, because it belongs to one task.
func (k *taskLog) logger(log *slog.Logger) *slog.Logger {
	return slog.New(slog.NewMultiHandler(log.Handler(), slog.NewTextHandler(k, nil)))
}

// flushLogs stores the log lines of all attempts under way, until ctx ends.
func (w *Worker) flushLogs(ctx context.Context) {
	w.eachTick(ctx, flushInterval, func(runs []*run) {
		for _, r := range runs {
			w.flushLog(ctx, r)
		}
	})
}

// flushLog stores the buffered log lines of an attempt. Lines that cannot be stored are
// kept for the next call.
func (w *Worker) flushLog(ctx context.Context, r *run) {
	r.taskLog.flushing.Lock()
	defer r.taskLog.flushing.Unlock()
	lines := r.taskLog.take()
	if lines == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if err := w.store.AppendLog(ctx, r.lease, lines); err != nil {
		r.taskLog.putBack(lines)
		r.log.Debug("cannot store the log of a task", "error", err)
	}
}
