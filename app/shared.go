package app

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/server/realtime"
)

// ErrNoSharedState is returned by Channels and by limiters of Services in a standalone
// worker (server worker) without -redis, which has no other process to share with. A cache
// computes each value there. A worker under a serving master uses the embedded state
// server.
var ErrNoSharedState = errors.New("no shared state for channels, caches and limits: start the worker with -redis")

// shared holds the state that processes share: a client of Redis or of the embedded state
// server, and the channels on it.
type shared struct {
	redis redis.UniversalClient
	bus   *realtime.Bus
}

// openShared opens a client of the shared state. The client connects when it is first used.
func openShared(c config.Config, m realtime.BusMeter, log *slog.Logger) (shared, error) {
	if c.Redis == "" {
		return refuseShared(ErrNoSharedState), nil
	}
	client, err := redisdb.Open(c.Redis, redisdb.Options{Logger: log})
	if err != nil {
		return shared{}, err
	}
	redisdb.FailFast(client, log)
	return shared{client, realtime.NewBus(client, realtime.BusOptions{Meter: m, Logger: log})}, nil
}

// refuseShared returns a shared state without a connection, which returns reason for every
// command.
func refuseShared(reason error) shared {
	client := redis.NewClient(&redis.Options{MaxRetries: -1})
	client.AddHook(refusingRedis{reason})
	return shared{client, realtime.NewBus(client, realtime.BusOptions{})}
}

// refusingRedis returns reason for every command.
type refusingRedis struct{ reason error }

func (r refusingRedis) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, r.reason }
}

func (r refusingRedis) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		cmd.SetErr(r.reason)
		return r.reason
	}
}

func (r refusingRedis) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			cmd.SetErr(r.reason)
		}
		return r.reason
	}
}
