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
	minDelay = 50 * time.Microsecond
	maxDelay = time.Millisecond

	// turnTimeout is how long a writer waits for the turn file before it continues
	// without it: a stopped process that holds the file must not block the others.
	turnTimeout = 250 * time.Millisecond

	// slowLock is the wait after which a warning is logged.
	slowLock = time.Second
)

// pause waits before another attempt, for about a quarter of the time since the first one,
// between minDelay and maxDelay. So the first attempts follow each other quickly.
func pause(since time.Time) {
	d := min(max(time.Since(since)/4, minDelay), maxDelay)
	<-time.After(d/2 + rand.N(d))
}

// errNotNeeded is returned by lock.acquire when no write waits for the lock any more.
var errNotNeeded = errors.New("no write waits for the write lock any more")

// lock is SQLite's write lock, made fair between processes.
//
// SQLite waits for its lock by polling, with pauses of up to 100 ms. A process that writes
// all the time takes the lock again within microseconds, so other processes almost never
// find it free: of four such processes, three got nothing within 4 s. Therefore a writer
// first locks the turn file (an flock on an empty file), and unlocks it as soon as it has
// the write lock. When a process that has just written wants to write again, another
// process already holds the turn file. So each process waits at most until all others
// have written once.
//
// The turn file only adds fairness. Mutual exclusion depends on SQLite's lock alone.
type lock struct {
	turn *os.File // turn file; nil if it could not be opened
	log  *slog.Logger
}

// openLock opens the turn file. Without it, waiting is not fair, but still correct.
func openLock(path string, log *slog.Logger) *lock {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		log.Warn("cannot open the turn file of the task store; its writers may wait longer", "error", err)
	}
	return &lock{turn: f, log: log}
}

func (l *lock) close() error {
	if l.turn == nil {
		return nil
	}
	return l.turn.Close()
}

// acquire calls begin until it succeeds or fails with an error other than busy, and returns
// its result. After each failed attempt it calls needed with the error, which is nil if
// begin was not called because another process holds the turn file. If needed returns
// false, acquire returns errNotNeeded.
func (l *lock) acquire(begin func() error, needed func(error) bool) error {
	start := time.Now()
	warned := false
	hasTurn := false
	defer func() {
		if hasTurn {
			_ = syscall.Flock(int(l.turn.Fd()), syscall.LOCK_UN) // fails only for a closed file
		}
	}()
	for {
		var err error
		hasTurn = hasTurn || l.takeTurn()
		if hasTurn || l.turn == nil || time.Since(start) > turnTimeout {
			if err = begin(); !busy(err) {
				return err
			}
		}
		if !needed(err) {
			return errNotNeeded
		}
		if !warned && time.Since(start) > slowLock {
			warned = true
			l.log.Warn("waiting long for the write lock of the task store; another process holds it", "waited", time.Since(start))
		}
		pause(start)
	}
}

// takeTurn tries to lock the turn file. It does not block: nothing could end a blocked
// flock when the Store is closed.
func (l *lock) takeTurn() bool {
	return l.turn != nil && syscall.Flock(int(l.turn.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
