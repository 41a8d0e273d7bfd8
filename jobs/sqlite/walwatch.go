package sqlite

import (
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/galeserver/gale/internal/sleep"
)

const (
	// settle is how long the poller polls after a write to the WAL. A commit is visible to
	// other processes after the WAL has been synced, and that raises no event.
	settle = 500 * time.Millisecond
	// firstPause is the pause after a write. It doubles up to the interval of the poller.
	firstPause = time.Millisecond
	// idlePoll is the interval of reads without writes, in case an event is missed.
	idlePoll = time.Second
)

// walWatch watches for writes to the WAL of a database by all processes (inotify(7)), so
// that a poller need not poll while nothing happens. SQLite does not remove the WAL while a
// connection is open (https://www.sqlite.org/walformat.html). Its methods must not be called
// by several goroutines at once.
type walWatch struct {
	path    string
	begun   bool
	watcher *fsnotify.Watcher // nil: writes are not reported, for example because there are too many watches

	until time.Time     // end of the time of polling after the last write
	next  time.Duration // next pause in that time
}

// begin starts to watch, at the first call.
func (w *walWatch) begin() {
	if w.begun || w.path == "" {
		return
	}
	w.begun = true
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	if err := watcher.Add(w.path); err != nil {
		_ = watcher.Close() // nothing is watched
		return
	}
	w.watcher, w.until = watcher, time.Now().Add(settle)
}

// pause returns when a commit may have become visible, or when stopping is closed. After a
// write, that is every so often, but not before least has passed.
func (w *walWatch) pause(every, least time.Duration, stopping <-chan struct{}) {
	w.begin()
	var events <-chan fsnotify.Event
	wait := every
	if w.watcher != nil {
		select {
		case <-w.watcher.Events: // more writes than one may be one event
			w.wrote()
		default:
		}
		if wait = min(w.next, every); time.Now().After(w.until) {
			wait, events = sleep.Align(max(idlePoll, every)), w.watcher.Events
		}
		w.next = 2 * wait
	}
	select {
	case <-time.After(max(wait, least)):
	case <-stopping:
	case <-events:
		w.next = firstPause
		w.wrote()
	}
}

func (w *walWatch) wrote() { w.until = time.Now().Add(settle) }

func (w *walWatch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // nothing reads its events any more
	}
}
