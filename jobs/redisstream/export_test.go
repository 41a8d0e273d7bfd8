package redisstream

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// SetPeriod sets the interval of audits, which is also the time after which an unused
// queue is removed.
func (s *Store) SetPeriod(d time.Duration) { s.period = d }

// RepeatLease makes the client send the next lease call twice, as go-redis does if the
// reply to the first one is lost.
func (s *Store) RepeatLease() { s.client.AddHook(&repeatLease{}) }

type repeatLease struct{ done atomic.Bool }

func (*repeatLease) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *repeatLease) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		if cmd.Name() == "evalsha" && args[1] == leaseScript.Hash() {
			first := redis.NewCmd(ctx, args...)
			if !r.done.Load() && next(ctx, first) == nil {
				r.done.Store(true)
			}
		}
		return next(ctx, cmd)
	}
}

func (*repeatLease) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
