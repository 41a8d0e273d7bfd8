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
	// journalSpan is for how long an accepted task may be missing from the
	// server's append-only file. With appendfsync everysec Redis answers before
	// it has written while an earlier fsync is under way, for up to two seconds
	// (aof.c, flushAppendOnlyFile); then a kill loses what was answered. A
	// replica that takes over lacks the last moments as well.
	journalSpan = 3 * time.Second
	// journalLimit bounds the bytes of arguments that are remembered.
	journalLimit = 64 << 20
	// journalBeat is how often a server is asked whether it is still the one
	// that accepted what is remembered.
	journalBeat = 500 * time.Millisecond
)

// journal remembers what was accepted lately, and accepts it once more from a
// server that was started since, or whose data is older than it was (a replica
// took over, or somebody deleted all): the same id is the same task, so that this
// adds what is missing and nothing else. A task is lost only if this process
// dies within the same moment as the server.
type journal struct {
	again func(ctx context.Context, e entry) error
	ping  func(ctx context.Context) (accepted int64, err error) // how many tasks the server ever has
	log   *slog.Logger

	mu      sync.Mutex
	entries []entry // oldest first
	bytes   int
	run     map[string]bool // the servers that were seen, by run id
	renewed bool            // one of them is new
	behind  bool            // and lacks, perhaps, what is remembered
	highest int64           // of what ping has returned
	running bool
	stopped chan struct{}
	ended   sync.WaitGroup
}

// entry is the call of a script.
type entry struct {
	at     time.Time
	script *redis.Script
	args   []any
	size   int
}

func newJournal() *journal {
	return &journal{run: map[string]bool{}, stopped: make(chan struct{})}
}

// greet is called for each new connection: the server says who it is.
func (j *journal) greet(ctx context.Context, c *redis.Conn) error {
	info, err := c.Info(ctx, "server").Result()
	if _, refused := errors.AsType[redis.Error](err); refused {
		return nil // without INFO there is no telling servers apart
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:"); ok {
			j.mu.Lock()
			if !j.run[id] && len(j.run) > 0 {
				j.renewed, j.behind = true, len(j.entries) > 0
			}
			j.run[id] = true
			j.mu.Unlock()
		}
	}
	return nil
}

// lacking reports whether the server may not have again yet what was accepted.
func (j *journal) lacking() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.behind
}

// add remembers a call that was answered.
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
		j.ended.Go(j.keep) // ends when nothing is remembered, or by stop
	}
}

func (j *journal) drop() {
	j.bytes -= j.entries[0].size
	j.entries[0] = entry{} // its arguments are garbage now, not when the slice is
	j.entries = j.entries[1:]
}

// stop ends the goroutine and returns when it has ended; call it once.
func (j *journal) stop() {
	close(j.stopped)
	j.ended.Wait()
}

func (j *journal) keep() {
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
		j.compare(accepted)
		if j.settle(ctx, asked) {
			return
		}
	}
}

// compare notices a server that has forgotten tasks and has the same run id, or
// does not tell it: it has accepted fewer than it had.
func (j *journal) compare(accepted int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if accepted < j.highest && !j.renewed {
		j.renewed, j.behind = true, len(j.entries) > 0
		j.log.Error("redis has lost tasks: its data was deleted, or is older than it was; those of the last seconds are accepted again",
			"accepted_before", j.highest, "accepted_now", accepted, "again", len(j.entries))
	}
	j.highest = accepted
}

// settle forgets what the server, which answered at the given time and is the
// same as ever, must have written by now; after a change of servers it accepts
// all once more. It reports whether nothing is left.
func (j *journal) settle(ctx context.Context, answered time.Time) (empty bool) {
	j.mu.Lock()
	renewed := j.renewed
	j.renewed = false
	entries := j.entries
	j.mu.Unlock()
	if renewed {
		for _, e := range entries {
			if err := j.again(ctx, e); err != nil {
				j.mu.Lock()
				j.renewed = true // and from the beginning
				j.mu.Unlock()
				return false
			}
		}
		j.mu.Lock()
		j.behind = j.renewed
		j.mu.Unlock()
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.renewed && len(j.entries) > 0 && answered.Sub(j.entries[0].at) > journalSpan {
		j.drop()
	}
	j.running = len(j.entries) > 0
	return !j.running
}
