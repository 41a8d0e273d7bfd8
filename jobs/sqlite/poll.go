package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// waiter is a waiting Lease or Watch. When it is woken, it reads again.
type waiter struct {
	wake  chan struct{} // signal to read again; capacity 1, so that several signals count as one
	seq   int64         // seq of the watched row; 0 for a Lease
	after int64         // version that the watcher has read
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// poller wakes waiters when a row may have changed. Commits of this Store are reported to
// committed. To detect commits of other processes, it polls PRAGMA data_version, which
// needs no disk access. When that value changes, it reads the watched rows in one query.
// It polls only for a while after a write to the WAL, see walWatch.
//
// Its goroutine runs only while there are waiters; stop waits for it.
type poller struct {
	read  *sql.DB
	every time.Duration
	wal   *walWatch

	mu       sync.Mutex
	leasers  map[*waiter]struct{}
	watchers map[int64][]*waiter // waiting Watches by seq of their row
	running  bool
	stopped  bool
	stopping chan struct{} // closed by stop
	ended    sync.WaitGroup
}

func newPoller(read *sql.DB, every time.Duration, wal *walWatch) *poller {
	return &poller{
		read: read, every: every, wal: wal, stopping: make(chan struct{}),
		leasers: map[*waiter]struct{}{}, watchers: map[int64][]*waiter{},
	}
}

// lease registers a waiter that is woken whenever a task may be due.
func (p *poller) lease() *waiter { return p.join(&waiter{wake: make(chan struct{}, 1)}) }

// watch registers a waiter that is woken when the version of row seq is greater than after.
func (p *poller) watch(seq, after int64) *waiter {
	return p.join(&waiter{wake: make(chan struct{}, 1), seq: seq, after: after})
}

func (p *poller) join(w *waiter) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.seq == 0 {
		p.leasers[w] = struct{}{}
	} else {
		p.watchers[w.seq] = append(p.watchers[w.seq], w)
	}
	if !p.running && !p.stopped {
		p.running = true
		p.ended.Go(p.run) // ends when there are no waiters, or by stop
	}
	return w
}

func (p *poller) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.leasers, w)
	if w.seq == 0 {
		return
	}
	left := slices.DeleteFunc(p.watchers[w.seq], func(x *waiter) bool { return x == w })
	if p.watchers[w.seq] = left; len(left) == 0 {
		delete(p.watchers, w.seq)
	}
}

// stop ends the goroutine and returns when it has ended. It must be called once only. It
// does not wake the waiters: they return when Store.closed is closed.
func (p *poller) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	close(p.stopping)
	p.ended.Wait()
	p.wal.close()
}

func (p *poller) run() {
	var conn *sql.Conn // values of data_version are comparable within one connection only
	last := int64(-1)  // differs from every version: changes before the first round were not detected
	for p.needed() {
		if conn == nil {
			conn, _ = p.read.Conn(context.Background())
		}
		begin := time.Now()
		version, err := dataVersion(conn)
		if err == nil && version != last {
			last = version
			err = p.checkWatched(conn)
		}
		if err != nil {
			// Each waiter reads its task again and returns the error that it gets.
			p.wakeAll()
			closeConn(conn)
			conn, last = nil, -1
		}
		// Spend at most a quarter of the time on reading.
		p.wal.pause(p.every, 3*time.Since(begin), p.stopping)
	}
	closeConn(conn)
}

func closeConn(c *sql.Conn) {
	if c != nil {
		_ = c.Close() // returns it to the pool
	}
}

// needed reports whether there are waiters. If it returns false, the goroutine ends, and
// the next waiter starts a new one.
func (p *poller) needed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = !p.stopped && len(p.leasers)+len(p.watchers) > 0
	return p.running
}

func dataVersion(conn *sql.Conn) (v int64, err error) {
	if conn == nil {
		return 0, sql.ErrConnDone
	}
	err = conn.QueryRowContext(context.Background(), "PRAGMA data_version").Scan(&v)
	return v, err
}

// committed is called after each commit of this Store, with the new versions of changed
// rows and whether a task became due.
func (p *poller) committed(rows map[int64]int64, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq, version := range rows {
		p.wakeWatchers(seq, version)
	}
	if due {
		p.wakeLeasers()
	}
}

// checkWatched reads the watched rows after a commit of another process.
func (p *poller) checkWatched(conn *sql.Conn) error {
	p.mu.Lock()
	p.wakeLeasers()
	seqs := make([]int64, 0, len(p.watchers))
	for seq := range p.watchers {
		seqs = append(seqs, seq)
	}
	p.mu.Unlock()
	if len(seqs) == 0 {
		return nil
	}
	list, err := json.Marshal(seqs)
	if err != nil {
		return err
	}
	rows, err := conn.QueryContext(context.Background(), versionsOf, string(list))
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports it
	for rows.Next() {
		var seq, version int64
		if err := rows.Scan(&seq, &version); err != nil {
			return err
		}
		p.mu.Lock()
		p.wakeWatchers(seq, version)
		p.mu.Unlock()
	}
	return rows.Err()
}

const versionsOf = `SELECT seq, version FROM tasks WHERE seq IN (SELECT value FROM json_each(?))`

func (p *poller) wakeWatchers(seq, version int64) {
	for _, w := range p.watchers[seq] {
		if version > w.after {
			w.signal()
		}
	}
}

func (p *poller) wakeLeasers() {
	for w := range p.leasers {
		w.signal()
	}
}

func (p *poller) wakeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLeasers()
	for _, all := range p.watchers {
		for _, w := range all {
			w.signal()
		}
	}
}
