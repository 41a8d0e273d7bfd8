package redisdb

import (
	"log/slog"
	"sync"
	"time"
)

// repeatInterval is the time between two lines about a problem that persists.
const repeatInterval = time.Minute

// maxProblems is the maximum number of problems at the same time. Further problems are not
// logged. There must be a limit, because clients can choose subjects.
const maxProblems = 1000

// ProblemLog logs problems that persist for some time: a line when a problem occurs,
// one a minute if it is reported again, and one when it is resolved. Several goroutines may
// use it at the same time.
type ProblemLog struct {
	log *slog.Logger

	mu       sync.Mutex
	problems map[string]*problem // by message and subject
}

type problem struct{ since, logged time.Time }

// NewProblemLog makes a ProblemLog that writes to log.
func NewProblemLog(log *slog.Logger) *ProblemLog {
	return &ProblemLog{log: log, problems: map[string]*problem{}}
}

// Report reports a problem. msg is the message in the log. subject is the thing that has
// the problem, such as the name of a queue; it may be empty, and is not logged. attrs are
// further attributes. The line also has err and, if there is Advice, the attribute todo.
func (l *ProblemLog) Report(msg, subject string, err error, attrs ...any) {
	if !l.due(msg+"\x00"+subject, time.Now()) {
		return
	}
	attrs = append(attrs, "error", err)
	if todo, ok := Advice(err); ok {
		attrs = append(attrs, "todo", todo)
	}
	l.log.Warn(msg, attrs...)
}

// due records that a problem exists now, and reports whether to log it.
func (l *ProblemLog) due(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.problems[key]
	if p == nil {
		if len(l.problems) >= maxProblems {
			return false
		}
		p = &problem{since: now}
		l.problems[key] = p
	}
	if now.Sub(p.logged) < repeatInterval {
		return false
	}
	p.logged = now
	return true
}

// Resolve reports that a problem does not exist any more. msg and subject are those
// passed to Report. resolved is the message in the log; it is logged only if the problem
// was reported before.
func (l *ProblemLog) Resolve(msg, subject, resolved string, attrs ...any) {
	key := msg + "\x00" + subject
	l.mu.Lock()
	p := l.problems[key]
	delete(l.problems, key)
	l.mu.Unlock()
	if p != nil {
		l.log.Info(resolved, append(attrs, "after", time.Since(p.since).Round(time.Millisecond))...)
	}
}
