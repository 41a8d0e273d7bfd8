package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// waiter is a Lease or a Watch that waits. To be woken means to look again.
type waiter struct {
	wake  chan struct{} // capacity 1: one call says as much as many
	seq   int64         // the row that is watched; 0 for a Lease
	after int64         // the version that its watcher knows
}

func (w *waiter) call() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// poller wakes waiters when what they wait for may have happened. What this
// Store commits it is told; for what other processes commit it reads PRAGMA
// data_version, which costs no disk access, and only when that has changed the
// watched rows, all in one query however many watch.
//
// Its goroutine runs while somebody waits and is waited for by stop.
type poller struct {
	read  *sql.DB
	every time.Duration

	mu       sync.Mutex
	leasers  map[*waiter]struct{}
	watchers map[int64][]*waiter // by row
	running  bool
	stopped  bool
	stopping chan struct{} // closed by stop
	ended    sync.WaitGroup
}

func newPoller(read *sql.DB, every time.Duration) *poller {
	return &poller{
		read: read, every: every, stopping: make(chan struct{}),
		leasers: map[*waiter]struct{}{}, watchers: map[int64][]*waiter{},
	}
}

// lease registers a Lease: it is woken whenever a task may be due.
func (p *poller) lease() *waiter { return p.join(&waiter{wake: make(chan struct{}, 1)}) }

// watch registers a Watch: it is woken once row seq is newer than after.
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
		p.ended.Go(p.run) // ends when nobody waits, or by stop
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

// stop ends the goroutine and returns when it has ended; call it once. The
// waiters themselves learn of Close by Store.closed.
func (p *poller) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	close(p.stopping)
	p.ended.Wait()
}

func (p *poller) run() {
	var conn *sql.Conn // data_version compares within one connection only
	last := int64(-1)  // at first all are woken: they looked before this did
	for p.needed() {
		if conn == nil {
			conn, _ = p.read.Conn(context.Background())
		}
		begin := time.Now()
		version, err := dataVersion(conn)
		if err == nil && version != last {
			last = version
			err = p.lookForAll(conn)
		}
		if err != nil {
			// The waiters look for themselves and report what they meet.
			p.callAll()
			closeConn(conn)
			conn, last = nil, -1
		}
		// With so many watchers that looking takes long, a quarter of the time.
		select {
		case <-time.After(max(p.every, 3*time.Since(begin))):
		case <-p.stopping:
		}
	}
	closeConn(conn)
}

func closeConn(c *sql.Conn) {
	if c != nil {
		_ = c.Close() // gives it back to the pool
	}
}

// needed reports whether anybody waits; once it has said no, the next waiter
// starts another goroutine.
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

// committed is told what this Store has changed: rows with their new version,
// and whether a task came due.
func (p *poller) committed(rows map[int64]int64, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq, version := range rows {
		p.callWatchers(seq, version)
	}
	if due {
		p.callLeasers()
	}
}

// lookForAll reads the watched rows after a change from elsewhere.
func (p *poller) lookForAll(conn *sql.Conn) error {
	p.mu.Lock()
	p.callLeasers()
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
	defer rows.Close() //nolint:errcheck // rows.Err says it
	for rows.Next() {
		var seq, version int64
		if err := rows.Scan(&seq, &version); err != nil {
			return err
		}
		p.mu.Lock()
		p.callWatchers(seq, version)
		p.mu.Unlock()
	}
	return rows.Err()
}

const versionsOf = `SELECT seq, version FROM tasks WHERE seq IN (SELECT value FROM json_each(?))`

func (p *poller) callWatchers(seq, version int64) {
	for _, w := range p.watchers[seq] {
		if version > w.after {
			w.call()
		}
	}
}

func (p *poller) callLeasers() {
	for w := range p.leasers {
		w.call()
	}
}

func (p *poller) callAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.callLeasers()
	for _, all := range p.watchers {
		for _, w := range all {
			w.call()
		}
	}
}
