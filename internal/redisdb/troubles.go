package redisdb

import (
	"log/slog"
	"sync"
	"time"
)

// repeatEvery is how often a trouble that lasts gets a line in the log.
const repeatEvery = time.Minute

// Troubles writes what goes wrong to a log: a line when it begins, one a minute
// while it lasts, and one when it is over. It is safe for concurrent use.
type Troubles struct {
	log *slog.Logger

	mu  sync.Mutex
	all map[string]*trouble // by message and subject
}

type trouble struct{ since, told time.Time }

// maxTroubles bounds what is remembered: a subject may be named by a client.
const maxTroubles = 1000

// NewTroubles makes Troubles that are written to log.
func NewTroubles(log *slog.Logger) *Troubles {
	return &Troubles{log: log, all: map[string]*trouble{}}
}

// Note says that something is wrong with subject, which may be empty. attrs are
// for the log, beside the error and what to do about it.
func (t *Troubles) Note(msg, subject string, err error, attrs ...any) {
	now, key := time.Now(), msg+"\x00"+subject
	t.mu.Lock()
	one := t.all[key]
	if one == nil && len(t.all) >= maxTroubles {
		t.mu.Unlock()
		return
	}
	if one == nil {
		one = &trouble{since: now}
		t.all[key] = one
	}
	due := now.Sub(one.told) >= repeatEvery
	if due {
		one.told = now
	}
	t.mu.Unlock()
	if !due {
		return
	}
	attrs = append(attrs, "error", err)
	if todo, ok := Refusal(err); ok {
		attrs = append(attrs, "todo", todo)
	}
	t.log.Warn(msg, attrs...)
}

// Over says that nothing is wrong any more; msg and subject are those of Note,
// over what the log is told if it was told of the trouble.
func (t *Troubles) Over(msg, subject, over string, attrs ...any) {
	key := msg + "\x00" + subject
	t.mu.Lock()
	one := t.all[key]
	delete(t.all, key)
	t.mu.Unlock()
	if one != nil {
		t.log.Info(over, append(attrs, "after", time.Since(one.since).Round(time.Millisecond))...)
	}
}
