package sqlite

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
)

const (
	minPause = 50 * time.Microsecond
	maxPause = time.Millisecond

	// courtesy bounds how long the turn file is respected. A process that was
	// stopped while it stood first in line must not hold up the others.
	courtesy = 250 * time.Millisecond

	// slowLock is the wait after which the log is told.
	slowLock = time.Second
)

// pause waits before another attempt, for a quarter of the time that was waited
// so far: what is locked briefly is asked for often.
func pause(since time.Time) {
	d := min(max(time.Since(since)/4, minPause), maxPause)
	<-time.After(d/2 + rand.N(d))
}

// errGivenUp is what lock.acquire returns when nobody needs the lock any more.
var errGivenUp = errors.New("nobody waits for the write lock any more")

// lock is SQLite's write lock with a line in front of it.
//
// SQLite's own waiting is a poll with growing pauses, up to 100 ms. A process
// that writes without pause takes the lock again within microseconds, so the
// others all but never find it free: of four such processes three got nothing
// within 4 s, whatever the pauses. So whoever wants the write lock first takes
// the turn, an flock on an empty file, and passes it on as soon as it has the
// write lock: the one that has just written finds the turn taken and cannot
// come first again. Everybody waits for at most one round of the others.
//
// The turn is a courtesy. What keeps writers apart is SQLite's lock alone.
type lock struct {
	turn *os.File // nil: go without
	log  *slog.Logger
}

// openLock opens the turn file; without one writers are only less fair.
func openLock(path string, log *slog.Logger) *lock {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		log.Warn("no turns for writers to a task store", "error", err)
	}
	return &lock{turn: f, log: log}
}

func (l *lock) close() error {
	if l.turn == nil {
		return nil
	}
	return l.turn.Close()
}

// acquire calls begin until it does not report busy, and returns what it
// returned. Between two attempts it asks needed, with the last attempt's
// error, whether to go on; if not it returns errGivenUp.
func (l *lock) acquire(begin func() error, needed func(error) bool) error {
	start := time.Now()
	warned := false
	ours := false
	defer func() {
		if ours {
			_ = syscall.Flock(int(l.turn.Fd()), syscall.LOCK_UN) // only a closed file has none
		}
	}()
	for {
		var err error
		ours = ours || l.takeTurn()
		if ours || l.turn == nil || time.Since(start) > courtesy {
			if err = begin(); !busy(err) {
				return err
			}
		}
		if !needed(err) {
			return errGivenUp
		}
		if !warned && time.Since(start) > slowLock {
			warned = true
			l.log.Warn("waiting for the write lock of a task store", "waited", time.Since(start))
		}
		pause(start)
	}
}

// takeTurn does not wait: a blocked flock would outlast a closed Store.
func (l *lock) takeTurn() bool {
	return l.turn != nil && syscall.Flock(int(l.turn.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
