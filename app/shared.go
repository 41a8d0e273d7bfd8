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

// ErrNoSharedState is what Channels and Limit of Services return in a worker of its
// own (server worker) that has no -redis: it has no other process to share with. A
// worker under a serving master uses the embedded state server.
var ErrNoSharedState = errors.New("no shared state for channels, caches and limits: start the worker with -redis")

// shared is what processes share: Redis or the embedded state server, and the channels
// on it.
type shared struct {
	redis redis.UniversalClient
	bus   *realtime.Bus
}

// openShared opens a client of the shared state. It dials when it is first used.
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

// refuseShared returns a shared state that refuses everything with reason, without a
// connection.
func refuseShared(reason error) shared {
	client := redis.NewClient(&redis.Options{MaxRetries: -1})
	client.AddHook(refusingRedis{reason})
	return shared{client, realtime.NewBus(client, realtime.BusOptions{})}
}

// refusingRedis refuses every command.
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
