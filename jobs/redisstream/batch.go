package redisstream

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/jobs"
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
	stopped bool // no call is taken any more
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
// then may be carried out all the same. After stop it returns errClosed.
func (b *batcher) do(ctx context.Context, script *redis.Script, args []any) (any, error) {
	p := &pending{script: script, args: args, done: make(chan struct{})}
	b.mu.Lock()
	if b.stopped { // a WaitGroup must not grow from zero while stop waits for it
		b.mu.Unlock()
		return nil, errClosed
	}
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

// stop lets no call in any more and returns when none waits.
func (b *batcher) stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.ended.Wait()
}

// round is a script as it is sent, for one call or for several.
type round struct {
	script *redis.Script
	args   []any
	calls  []*pending
}

// rounds joins the calls of finish.lua, which takes many at once: what it costs
// the server to begin a script, and to take entries off a stream, is shared.
func rounds(calls []*pending) (all []*round) {
	var finishes *round
	for _, p := range calls {
		if p.script != finishScript {
			all = append(all, &round{script: p.script, args: p.args, calls: []*pending{p}})
			continue
		}
		if finishes == nil {
			finishes = &round{script: p.script, args: append(slices.Clone(p.args[:preamble]), 0)}
			all = append(all, finishes)
		}
		own := p.args[preamble:]
		finishes.calls = append(finishes.calls, p)
		finishes.args[preamble] = len(finishes.calls)
		finishes.args = append(append(finishes.args, len(own)), own...)
	}
	return all
}

// scriptError is what Redis says went wrong in one of several calls.
type scriptError string

func (e scriptError) Error() string { return string(e) }
func (scriptError) RedisError()     {}

// answer gives each call its answer.
func (r *round) answer(answer any, err error) {
	if r.script != finishScript || err != nil {
		for _, p := range r.calls {
			p.answer, p.err = answer, err
		}
		return
	}
	list, _ := answer.([]any)
	for i, p := range r.calls {
		if len(list) != len(r.calls) {
			p.err = errAnswer
			continue
		}
		if text, failed := list[i].(string); failed {
			p.err = scriptError(text)
		}
		p.answer = list[i]
	}
}

// sendAll sends scripts in one pipeline. What the server does not know yet it is
// sent in full.
func (s *Store) sendAll(ctx context.Context, calls []*pending) {
	all := rounds(calls)
	cmds := make([]*redis.Cmd, len(all))
	_, failed := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its error
		for i, r := range all {
			cmds[i] = r.script.EvalSha(ctx, pipe, []string{s.key}, r.args...)
		}
		return nil
	})
	for i, r := range all {
		answer, err := cmds[i].Result()
		if err == nil && answer == nil {
			err = failed // but for that of a connection that was refused, as with a wrong password
		}
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			answer, err = r.script.Run(ctx, s.client, []string{s.key}, r.args...).Result()
		}
		r.answer(answer, err)
	}
}
