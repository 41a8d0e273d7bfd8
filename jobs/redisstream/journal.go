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
	// journalSpan is the time after which an accepted task should be in the server's
	// append-only file. With appendfsync everysec, Redis replies at once but may write to
	// the file up to two seconds later, while an earlier fsync runs (aof.c,
	// flushAppendOnlyFile). If it is killed meanwhile, it loses acknowledged writes. A
	// replica that takes over may also lack the last writes.
	journalSpan = 3 * time.Second
	// journalLimit is the largest total size of the arguments in a journal, in bytes.
	journalLimit = 64 << 20
	// journalInterval is the interval at which the server is checked for a restart.
	journalInterval = 500 * time.Millisecond
)

// journal keeps the calls that have accepted tasks within the last journalSpan. It replays
// them if the server was restarted, or if the server has lost writes because a replica took
// over or data was deleted. Enqueueing an existing id again changes nothing, so a replay
// adds only missing tasks. A task is lost only if this process and the server are both
// killed within journalSpan.
type journal struct {
	replay func(ctx context.Context, e entry) error
	ping   func(ctx context.Context) (accepted int64, err error) // number of tasks ever accepted by the server
	log    *slog.Logger

	mu         sync.Mutex
	entries    []entry // oldest first
	bytes      int
	run        map[string]bool // run ids of the servers seen so far
	restarted  bool            // whether a replay is needed
	incomplete bool            // whether the server may lack tasks until the replay ends
	highest    int64           // largest result of ping
	running    bool
	stopped    chan struct{} // closed by stop
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
		return nil // INFO is not allowed; only checkCount can detect a restart
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
	j.entries[0] = entry{} // the slice would keep the arguments in memory
	j.entries = j.entries[1:]
}

// stop ends the goroutine and returns when it has ended. It must be called once only.
func (j *journal) stop() {
	close(j.stopped)
	j.ended.Wait()
}

func (j *journal) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(journalInterval)
	defer tick.Stop()
	for {
		select {
		case <-j.stopped:
			return
		case <-tick.C:
		}
		pinged := time.Now()
		accepted, err := j.ping(ctx)
		if err != nil {
			continue
		}
		j.checkCount(accepted)
		if j.replayOrDrop(ctx, pinged) {
			return
		}
	}
}

// checkCount detects a server that has lost tasks but has no new run id: its number of
// accepted tasks is smaller than before.
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

// replayOrDrop replays all entries if the server was restarted. Otherwise it drops the
// entries that are older than journalSpan at the time of the last successful ping. It
// reports whether the journal is empty.
func (j *journal) replayOrDrop(ctx context.Context, pinged time.Time) (empty bool) {
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
	for !j.restarted && len(j.entries) > 0 && pinged.Sub(j.entries[0].at) > journalSpan {
		j.drop()
	}
	j.running = len(j.entries) > 0
	return !j.running
}
