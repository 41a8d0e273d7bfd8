package redisstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

var errOld = errors.New("redis is too old: version 7.0 or newer is needed, for scripts that write by the server's clock")

// look finds out, once, what kind of servers these are. What is dangerous in
// their configuration is said in the log: nothing but the operator can tell
// whether it is meant so.
func (s *Store) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	var err error
	if c, ok := s.client.(*redis.ClusterClient); ok {
		var mu sync.Mutex // the log lines of one node stay together
		err = c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return s.lookAt(ctx, node, node.Options().Addr)
		})
	} else {
		err = s.lookAt(ctx, s.client, "")
	}
	if err == nil {
		s.looked.Store(true)
		s.problems.Resolve(troubleAway, "", "redis answers; tasks are accepted")
	}
	return err
}

// commander is what clients of one server and of many have in common.
type commander interface {
	redis.Cmdable
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// versionOf returns the major version of a server. HELLO, unlike INFO, is a
// right that each user has.
func versionOf(ctx context.Context, server commander) (int, error) {
	hello, err := server.Do(ctx, "HELLO").Result()
	if err != nil {
		if strings.HasPrefix(err.Error(), "ERR unknown command") {
			return 0, errOld // before Redis 6
		}
		return 0, err
	}
	fields, ok := hello.(map[any]any)
	if !ok {
		return 0, errAnswer
	}
	version, _, _ := strings.Cut(fmt.Sprint(fields["version"]), ".")
	return strconv.Atoi(version)
}

func (s *Store) lookAt(ctx context.Context, server commander, addr string) error {
	major, err := versionOf(ctx, server)
	if err != nil {
		return err
	}
	if major < 7 {
		return fmt.Errorf("%w; this is %d", errOld, major)
	}
	log := s.opts.Logger
	if addr != "" {
		log = log.With("node", addr)
	}
	settings := map[string]string{}
	for _, name := range []string{"appendonly", "appendfsync", "maxmemory", "maxmemory-policy"} {
		one, err := server.ConfigGet(ctx, name).Result()
		if _, refused := errors.AsType[redis.Error](err); refused {
			log.Warn("cannot check the configuration of redis; tasks need appendonly yes and maxmemory-policy noeviction", "error", err, "todo", "check it yourself, or give the user +config|get")
			return nil
		}
		if err != nil {
			return err
		}
		settings[name] = one[name]
	}
	switch {
	case settings["appendonly"] != "yes":
		log.Warn("redis has no append-only file: tasks that were accepted are lost when it restarts; set appendonly yes")
	case settings["appendfsync"] == "everysec":
		log.Info("redis syncs once a second: a power failure may lose tasks of the last two; appendfsync always loses none")
	case settings["appendfsync"] == "no":
		log.Warn("redis leaves fsync to the system: a power failure loses tasks of the last half minute; set appendfsync everysec, or always")
	}
	if p := settings["maxmemory-policy"]; p != "noeviction" && settings["maxmemory"] != "0" {
		log.Warn("redis may evict tasks when its memory is full; set maxmemory-policy noeviction", "policy", p)
	}
	return nil
}
