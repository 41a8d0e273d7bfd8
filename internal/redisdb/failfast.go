package redisdb

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrAway is what commands fail with at once while Redis does not answer.
var ErrAway = errors.New("redis does not answer")

// probeEvery is how often one command is let through to see whether Redis
// answers again.
const probeEvery = 100 * time.Millisecond

// FailFast makes c fail at once while Redis is away, where each request would
// otherwise wait for its own time-out, and writes a line when that begins and
// when it ends. It is for users that can do without an answer.
func FailFast(c redis.UniversalClient, log *slog.Logger) { c.AddHook(&breaker{log: log}) }

// breaker is open while Redis is away.
type breaker struct {
	log   *slog.Logger
	away  atomic.Int64 // since when, Unix time in nanoseconds; 0: not away
	probe atomic.Int64 // when the next command is let through
}

func (b *breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := b.run(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
		if errors.Is(err, ErrAway) {
			cmd.SetErr(err)
		}
		return err
	}
}

func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := b.run(ctx, func(ctx context.Context) error { return next(ctx, cmds) })
		if errors.Is(err, ErrAway) {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// admitted marks the context of a command that was let through: what go-redis
// sends first on a new connection comes here again, inside of it.
type admitted struct{}

// run is a command, or several, unless Redis is away.
func (b *breaker) run(ctx context.Context, next func(context.Context) error) error {
	if ctx.Value(admitted{}) != nil {
		return next(ctx)
	}
	if err := b.admit(time.Now()); err != nil {
		return err
	}
	err := next(context.WithValue(ctx, admitted{}, true))
	b.note(err, time.Now())
	return err
}

func (b *breaker) admit(now time.Time) error {
	if b.away.Load() == 0 {
		return nil
	}
	next := b.probe.Load()
	if now.UnixNano() >= next && b.probe.CompareAndSwap(next, now.Add(probeEvery).UnixNano()) {
		return nil
	}
	return ErrAway
}

// note draws the conclusion from how a command ended.
func (b *breaker) note(err error, now time.Time) {
	if !gone(err) {
		if since := b.away.Load(); since != 0 && answered(err) && b.away.CompareAndSwap(since, 0) {
			b.log.Info("redis answers again", "away_for", now.Sub(time.Unix(0, since)).Round(time.Millisecond))
		}
		return
	}
	b.probe.Store(now.Add(probeEvery).UnixNano())
	if b.away.CompareAndSwap(0, now.UnixNano()) {
		b.log.Warn("redis does not answer, going on without it", "error", err)
	}
}

// answered reports whether Redis itself said what err says.
func answered(err error) bool {
	_, reply := errors.AsType[redis.Error](err)
	return err == nil || reply
}

// gone reports whether err is about the way to Redis: a reply is not, nor is a
// caller that gave up, nor a pool with no free connection.
func gone(err error) bool {
	if answered(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
