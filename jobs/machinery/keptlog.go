package machinery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/galeserver/gale/jobs/driver"
)

// keepLogEvery is how often what handlers log is added to the logs of their
// tasks.
const keepLogEvery = time.Second

// keptLog gathers what a handler logs, a line a record, until it is kept with
// the task. It bounds itself to MaxLog, like the store.
type keptLog struct {
	mu    sync.Mutex
	lines string

	keeping sync.Mutex // one at a time, so that lines stay in order
}

// Write takes one line, as slog.TextHandler writes it.
func (k *keptLog) Write(line []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = driver.CutLog(k.lines + driver.LogLines(string(line)))
	return len(line), nil
}

func (k *keptLog) take() (lines string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	lines, k.lines = k.lines, ""
	return lines
}

// giveBack puts lines in front that could not be kept.
func (k *keptLog) giveBack(lines string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = driver.CutLog(lines + k.lines)
}

// logger writes to both the program's log and the task's, to the latter
// without what anyone who reads it knows.
func (k *keptLog) logger(log *slog.Logger) *slog.Logger {
	return slog.New(slog.NewMultiHandler(log.Handler(), slog.NewTextHandler(k, nil)))
}

// keepLogs adds to the logs of the attempts under way until ctx ends.
func (w *Worker) keepLogs(ctx context.Context) {
	w.tick(ctx, keepLogEvery, func(runs []*run) {
		for _, r := range runs {
			w.keepLog(ctx, r)
		}
	})
}

// keepLog adds what a handler has logged to the log of its task. What the store
// cannot take now is tried again the next time.
func (w *Worker) keepLog(ctx context.Context, r *run) {
	r.kept.keeping.Lock()
	defer r.kept.keeping.Unlock()
	lines := r.kept.take()
	if lines == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if err := w.store.AppendLog(ctx, r.lease, lines); err != nil {
		r.kept.giveBack(lines)
		r.log.Debug("cannot keep the log of a task", "error", err)
	}
}
