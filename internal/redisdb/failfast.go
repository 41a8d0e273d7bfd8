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

// ErrUnavailable is the error of commands while Redis is unavailable, see FailFast.
var ErrUnavailable = errors.New("redis does not respond")

// probeInterval is the time between two commands that are sent while Redis is
// unavailable, to find out whether it responds again.
const probeInterval = 100 * time.Millisecond

// FailFast adds a circuit breaker to a client. While Redis is unavailable, commands fail
// immediately with ErrUnavailable; otherwise each command would wait for its timeout. The
// start and the end of that time are logged. Use FailFast only where commands may fail.
func FailFast(c redis.UniversalClient, log *slog.Logger) { c.AddHook(&breaker{log: log}) }

// breakerStart is the zero of the times in a breaker. They are times of the monotonic clock: if
// the wall clock is set back, the next probe must not wait until it has caught up.
var breakerStart = time.Now().Add(-time.Nanosecond)

func sinceStart(t time.Time) int64 { return int64(t.Sub(breakerStart)) }

// breaker is the circuit breaker of FailFast. All times are in nanoseconds since breakerStart.
type breaker struct {
	log   *slog.Logger
	since atomic.Int64 // start of the time in which Redis is unavailable; 0: it is available
	probe atomic.Int64 // time at which the next command may be sent
}

func (b *breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := b.run(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
		if errors.Is(err, ErrUnavailable) {
			cmd.SetErr(err)
		}
		return err
	}
}

func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := b.run(ctx, func(ctx context.Context) error { return next(ctx, cmds) })
		if errors.Is(err, ErrUnavailable) {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// allowed is the key of a context value that marks commands which may be sent. On a new
// connection go-redis sends further commands within the context of the first one, and
// they pass the hooks again.
type allowed struct{}

// run sends one or more commands, unless Redis is unavailable.
func (b *breaker) run(ctx context.Context, next func(context.Context) error) error {
	if ctx.Value(allowed{}) != nil {
		return next(ctx)
	}
	if err := b.allow(time.Now()); err != nil {
		return err
	}
	err := next(context.WithValue(ctx, allowed{}, true))
	b.record(err, time.Now())
	return err
}

// allow returns ErrUnavailable if a command must not be sent now.
func (b *breaker) allow(now time.Time) error {
	if b.since.Load() == 0 {
		return nil
	}
	next := b.probe.Load()
	if sinceStart(now) >= next && b.probe.CompareAndSwap(next, sinceStart(now.Add(probeInterval))) {
		return nil
	}
	return ErrUnavailable
}

// record opens or closes the breaker by the result of a command.
func (b *breaker) record(err error, now time.Time) {
	if !isUnavailable(err) {
		if since := b.since.Load(); since != 0 && isResponse(err) && b.since.CompareAndSwap(since, 0) {
			b.log.Info("redis responds again", "away_for", time.Duration(sinceStart(now)-since).Round(time.Millisecond))
		}
		return
	}
	b.probe.Store(sinceStart(now.Add(probeInterval)))
	if b.since.CompareAndSwap(0, sinceStart(now)) {
		b.log.Warn("redis does not respond, continuing without it", "error", err)
	}
}

// isResponse reports whether err is the result of a response of Redis, which may be an
// error response.
func isResponse(err error) bool {
	_, response := errors.AsType[redis.Error](err)
	return err == nil || response
}

// isUnavailable reports whether err is an error of the connection to Redis. It is false for
// a response, for the end of the caller's context, and for redis.ErrPoolTimeout (no free
// connection in the pool).
func isUnavailable(err error) bool {
	if isResponse(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
