package redisstream

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/jobs"
)

// batcher sends the calls that arrive during a round trip together in the next one. This
// saves system calls in this process and in the server. Each call remains a separate
// script, except those that rounds combines.
//
// Its goroutine runs only while calls are waiting; stop waits for it.
type batcher struct {
	send func(ctx context.Context, calls []*pending)

	mu      sync.Mutex
	waiting []*pending
	running bool
	stopped bool // whether new calls are refused
	ended   sync.WaitGroup
}

// batchLimit is the largest number of calls in a round trip, so that the first of them
// does not wait too long for the others.
const batchLimit = 128

// pending is a call that waits for its reply.
type pending struct {
	script *redis.Script
	args   []any
	reply  any
	err    error
	done   chan struct{}
}

// do sends a call and returns the reply. If ctx ends first, it returns jobs.ErrUnavailable
// with the cause; a call that has already been sent may still be executed. After stop it
// returns errClosed.
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
		b.ended.Go(b.run) // ends when no calls are waiting
	}
	b.mu.Unlock()
	select {
	case <-p.done:
		return p.reply, p.err
	case <-ctx.Done():
		b.withdraw(p)
		return nil, fmt.Errorf("%w: redis did not respond in time: %w", jobs.ErrUnavailable, context.Cause(ctx))
	}
}

func (b *batcher) run() {
	for {
		runtime.Gosched() // goroutines that are ready to run may add their calls
		b.mu.Lock()
		n := min(len(b.waiting), batchLimit)
		calls := b.waiting[:n:n]
		b.waiting = slices.Clone(b.waiting[n:]) // withdraw writes to it
		b.running = n > 0
		b.mu.Unlock()
		if n == 0 {
			return
		}
		// The round trip serves several callers, so the context of one must not end it.
		b.send(context.Background(), calls)
		for _, p := range calls {
			close(p.done)
		}
	}
}

// withdraw removes a call that has not been sent yet.
func (b *batcher) withdraw(p *pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, func(q *pending) bool { return p == q })
}

// stop refuses new calls and returns when no calls are waiting.
func (b *batcher) stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.ended.Wait()
}

// round is a script to send, for one or several calls.
type round struct {
	script *redis.Script
	args   []any
	calls  []*pending
}

// shared reports whether a script accepts several calls: its arguments are the number of
// calls, and for each the number of its values and the values. Its reply is a list with one
// reply for each call; a text is an error.
func shared(script *redis.Script) bool { return script == finishScript || script == enqueueScript }

// rounds returns one round for each call, except that all calls of a shared script are one
// round. They share the cost of starting a script, and those of finish.lua also that of
// removing entries from a stream.
func rounds(calls []*pending) (all []*round) {
	open := map[*redis.Script]*round{}
	for _, p := range calls {
		if !shared(p.script) {
			all = append(all, &round{script: p.script, args: p.args, calls: []*pending{p}})
			continue
		}
		r := open[p.script]
		if r == nil {
			r = &round{script: p.script, args: append(slices.Clone(p.args[:commonArgs]), 0)}
			open[p.script] = r
			all = append(all, r)
		}
		own := p.args[commonArgs:]
		r.calls = append(r.calls, p)
		r.args[commonArgs] = len(r.calls)
		r.args = append(append(r.args, len(own)), own...)
	}
	return all
}

// scriptError is an error text in the reply of a script. It is a redis.Error.
type scriptError string

func (e scriptError) Error() string { return string(e) }
func (scriptError) RedisError()     {}

// deliver sets the reply of each call.
func (r *round) deliver(reply any, err error) {
	if !shared(r.script) || err != nil {
		for _, p := range r.calls {
			p.reply, p.err = reply, err
		}
		return
	}
	list, _ := reply.([]any)
	for i, p := range r.calls {
		if len(list) != len(r.calls) {
			p.err = errReply
			continue
		}
		if text, failed := list[i].(string); failed {
			p.err = scriptError(text)
		}
		p.reply = list[i]
	}
}

// sendAll sends scripts in one pipeline, by their hash. If the server does not know the hash
// of a script, sendAll sends its full text.
func (s *Store) sendAll(ctx context.Context, calls []*pending) {
	all := rounds(calls)
	cmds := make([]*redis.Cmd, len(all))
	_, failed := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its own error
		for i, r := range all {
			cmds[i] = r.script.EvalSha(ctx, pipe, []string{s.key}, r.args...)
		}
		return nil
	})
	for i, r := range all {
		reply, err := cmds[i].Result()
		if err == nil && reply == nil {
			err = failed // the connection was refused, for example because of a wrong password
		}
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			reply, err = r.script.Run(ctx, s.client, []string{s.key}, r.args...).Result()
		}
		r.deliver(reply, err)
	}
}
