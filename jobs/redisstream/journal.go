package redisstream

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// journalSpan is the time in which an accepted task may be missing from the
	// server's append-only file. With appendfsync everysec Redis delays its write for up
	// to two seconds while an earlier fsync runs (aof.c, flushAppendOnlyFile), but
	// replies at once; a kill then loses acknowledged writes. A replica that takes over
	// also lacks the last writes.
	journalSpan = 3 * time.Second
	// journalLimit is the largest total size of the arguments in a journal, in bytes.
	journalLimit = 64 << 20
	// journalBeat is the interval at which the server is checked for a restart.
	journalBeat = 500 * time.Millisecond
)

// journal keeps the calls that accepted tasks lately. It replays them if the server was
// restarted, or if its data is older than before because a replica took over or the data
// was deleted. The same id is one task, so a replay adds only what is missing. A task is
// lost only if this process and the server die within journalSpan.
type journal struct {
	replay func(ctx context.Context, e entry) error
	ping   func(ctx context.Context) (accepted int64, err error) // number of tasks ever accepted by the server
	log    *slog.Logger

	mu         sync.Mutex
	entries    []entry // oldest first
	bytes      int
	run        map[string]bool // run ids of the servers seen so far
	restarted  bool            // a new server was seen; a replay is needed
	incomplete bool            // the server may lack tasks until the replay ends
	highest    int64           // largest result of ping
	running    bool
	stopped    chan struct{}
	ended      sync.WaitGroup
}

// entry is a call of a script that accepted tasks.
type entry struct {
	at     time.Time
	script *redis.Script
	args   []any
	size   int
}

func newJournal() *journal {
	return &journal{run: map[string]bool{}, stopped: make(chan struct{})}
}

// onConnect reads the run id of the server on each new connection.
func (j *journal) onConnect(ctx context.Context, c *redis.Conn) error {
	info, err := c.Info(ctx, "server").Result()
	if _, refused := errors.AsType[redis.Error](err); refused {
		return nil // without INFO, servers cannot be told apart
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:"); ok {
			j.mu.Lock()
			if !j.run[id] && len(j.run) > 0 {
				j.restarted, j.incomplete = true, len(j.entries) > 0
			}
			j.run[id] = true
			j.mu.Unlock()
		}
	}
	return nil
}

// isIncomplete reports whether accepted tasks may be missing until a replay ends.
func (j *journal) isIncomplete() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.incomplete
}

// add adds a call whose reply has arrived.
func (j *journal) add(script *redis.Script, args []any) {
	e := entry{at: time.Now(), script: script, args: args}
	for _, a := range args {
		switch a := a.(type) {
		case string:
			e.size += len(a)
		case []byte:
			e.size += len(a)
		}
		e.size += 16
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries, j.bytes = append(j.entries, e), j.bytes+e.size
	for j.bytes > journalLimit {
		j.drop()
	}
	if !j.running {
		j.running = true
		j.ended.Go(j.loop) // ends when the journal is empty, or by stop
	}
}

func (j *journal) drop() {
	j.bytes -= j.entries[0].size
	j.entries[0] = entry{} // frees the arguments before the slice
	j.entries = j.entries[1:]
}

// stop ends the goroutine and returns when it has ended; call it once.
func (j *journal) stop() {
	close(j.stopped)
	j.ended.Wait()
}

func (j *journal) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(journalBeat)
	defer tick.Stop()
	for {
		select {
		case <-j.stopped:
			return
		case <-tick.C:
		}
		asked := time.Now()
		accepted, err := j.ping(ctx)
		if err != nil {
			continue
		}
		j.checkCount(accepted)
		if j.replayOrDrop(ctx, asked) {
			return
		}
	}
}

// checkCount detects a server that has lost tasks without a new run id: it has accepted
// fewer tasks than before.
func (j *journal) checkCount(accepted int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if accepted < j.highest && !j.restarted {
		j.restarted, j.incomplete = true, len(j.entries) > 0
		j.log.Error("redis has lost tasks: its data was deleted or is older than before; replaying the tasks of the last seconds",
			"accepted_before", j.highest, "accepted_now", accepted, "again", len(j.entries))
	}
	j.highest = accepted
}

// replayOrDrop replays all entries if the server was restarted. Otherwise it drops those
// that the server, which replied at the given time, must have written by now. It reports
// whether the journal is empty.
func (j *journal) replayOrDrop(ctx context.Context, answered time.Time) (empty bool) {
	j.mu.Lock()
	restarted := j.restarted
	j.restarted = false
	entries := j.entries
	j.mu.Unlock()
	if restarted {
		for _, e := range entries {
			if err := j.replay(ctx, e); err != nil {
				j.mu.Lock()
				j.restarted = true // replay all entries again
				j.mu.Unlock()
				return false
			}
		}
		j.mu.Lock()
		j.incomplete = j.restarted
		j.mu.Unlock()
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.restarted && len(j.entries) > 0 && answered.Sub(j.entries[0].at) > journalSpan {
		j.drop()
	}
	j.running = len(j.entries) > 0
	return !j.running
}
