package redisstream

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"gale/jobs"
)

// batcher sends the calls that come while others are under way together: one
// write and one read for all, here and in the server, and one turn of its loop.
// It changes nothing else: each is a script of its own.
//
// Its goroutine runs while calls wait; stop waits for it.
type batcher struct {
	send func(ctx context.Context, calls []*pending)

	mu      sync.Mutex
	waiting []*pending
	running bool
	ended   sync.WaitGroup
}

// batchLimit bounds how many calls share a round, so that the first of them is
// not kept waiting by all that follow.
const batchLimit = 128

// pending is a call that waits.
type pending struct {
	script *redis.Script
	args   []any
	answer any
	err    error
	done   chan struct{}
}

// do returns the answer, or the cause of the end of ctx; a call that was sent by
// then may be carried out all the same.
func (b *batcher) do(ctx context.Context, script *redis.Script, args []any) (any, error) {
	p := &pending{script: script, args: args, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, p)
	if !b.running {
		b.running = true
		b.ended.Go(b.run) // ends when nothing waits
	}
	b.mu.Unlock()
	select {
	case <-p.done:
		return p.answer, p.err
	case <-ctx.Done():
		b.withdraw(p)
		return nil, fmt.Errorf("%w: no answer in time: %w", jobs.ErrUnavailable, context.Cause(ctx))
	}
}

func (b *batcher) run() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), batchLimit)
		calls := b.waiting[:n:n]
		b.waiting = slices.Clone(b.waiting[n:]) // withdraw writes to it
		b.running = n > 0
		b.mu.Unlock()
		if n == 0 {
			return
		}
		// No caller's context: it is everybody's call.
		b.send(context.Background(), calls)
		for _, p := range calls {
			close(p.done)
		}
	}
}

// withdraw keeps a call that still waits from being sent.
func (b *batcher) withdraw(p *pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, func(q *pending) bool { return p == q })
}

// stop returns when nothing waits any more.
func (b *batcher) stop() { b.ended.Wait() }

// sendAll sends scripts in one pipeline. What the server does not know yet it is
// sent in full.
func (s *Store) sendAll(ctx context.Context, calls []*pending) {
	cmds := make([]*redis.Cmd, len(calls))
	_, _ = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its error
		for i, p := range calls {
			cmds[i] = p.script.EvalSha(ctx, pipe, []string{s.key}, p.args...)
		}
		return nil
	})
	for i, p := range calls {
		if p.answer, p.err = cmds[i].Result(); redis.HasErrorPrefix(p.err, "NOSCRIPT") {
			p.answer, p.err = p.script.Run(ctx, s.client, []string{s.key}, p.args...).Result()
		}
	}
}
