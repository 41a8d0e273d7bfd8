package redisstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var errOld = errors.New("redis is too old: upgrade it to version 7.0 or newer, which the scripts of the task store need")

// format is the number of the format of the keys. It is increased only by a version whose
// tasks an older version would damage, and that version stores its number in the key format.
// A store without this key has format 1. New keys and fields that an older version ignores
// do not increase it: during a rolling upgrade two versions use the same store.
const format = 1

var errNewer = errors.New("the tasks were stored by a newer version of the program")

// checkFormat returns an error with errNewer if a newer version has increased the format.
func (s *Store) checkFormat(ctx context.Context) error {
	found, err := s.client.Get(ctx, s.key+":format").Int()
	switch {
	case errors.Is(err, redis.Nil):
		return nil
	case err != nil:
		return err
	case found > format:
		return fmt.Errorf("%w: they have format %d, and this version supports up to format %d; upgrade this server", errNewer, found, format)
	}
	return nil
}

// checkServers checks the format of the keys and the version of all servers, and logs the settings with which tasks can
// be lost. Such settings are no error, because the operator may intend them. It is called
// until it has succeeded once.
func (s *Store) checkServers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	var err error
	if c, ok := s.client.(*redis.ClusterClient); ok {
		var mu sync.Mutex // so that the log lines of one node follow each other
		err = c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return s.checkServer(ctx, node, node.Options().Addr)
		})
	} else {
		err = s.checkServer(ctx, s.client, "")
	}
	if err == nil {
		err = s.checkFormat(ctx)
	}
	if err == nil {
		s.checked.Store(true)
		s.problems.Resolve(troubleStore, "", "redis responds again; tasks are accepted")
	}
	return err
}

// commander has the methods that clients of one server and of a cluster share.
type commander interface {
	redis.Cmdable
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// versionOf returns the major version of a server. It uses HELLO because every user may
// run it, unlike INFO.
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
		return 0, errReply
	}
	version, _, _ := strings.Cut(fmt.Sprint(fields["version"]), ".")
	return strconv.Atoi(version)
}

func (s *Store) checkServer(ctx context.Context, server commander, addr string) error {
	major, err := versionOf(ctx, server)
	if err != nil {
		return err
	}
	if major < 7 {
		return fmt.Errorf("%w; the server has version %d", errOld, major)
	}
	log := s.opts.Logger
	if addr != "" {
		log = log.With("node", addr)
	}
	there, err := server.Time(ctx).Result()
	if err != nil {
		return err
	}
	checkClock(log, time.Now(), there)
	settings := map[string]string{}
	for _, name := range []string{"appendonly", "appendfsync", "maxmemory", "maxmemory-policy"} {
		one, err := server.ConfigGet(ctx, name).Result()
		if _, refused := errors.AsType[redis.Error](err); refused {
			log.Warn("cannot read the configuration of redis; tasks need appendonly yes and maxmemory-policy noeviction", "error", err, "todo", "check the configuration, or give the user +config|get")
			return nil
		}
		if err != nil {
			return err
		}
		settings[name] = one[name]
	}
	switch {
	case settings["appendonly"] != "yes":
		log.Warn("redis has no append-only file: accepted tasks are lost when it restarts; set appendonly yes")
	case settings["appendfsync"] == "everysec":
		log.Info("redis syncs to disk once a second: a power failure can lose the tasks of the last two seconds; set appendfsync always to lose none")
	case settings["appendfsync"] == "no":
		log.Warn("redis never syncs to disk itself: a power failure can lose the tasks of the last 30 seconds; set appendfsync everysec or always")
	}
	if p := settings["maxmemory-policy"]; p != "noeviction" && settings["maxmemory"] != "0" {
		log.Warn("redis may evict tasks when it reaches maxmemory; set maxmemory-policy noeviction", "policy", p)
	}
	return nil
}

// maxApart is the largest difference between the clocks of this machine and of Redis that is not
// logged. The command itself takes a part of it.
const maxApart = 5 * time.Second

// checkClock logs that the clocks differ. The time at which a task is due is computed by the clock
// of the machine that accepts or releases it, and compared with that of Redis.
func checkClock(log *slog.Logger, here, there time.Time) {
	if ahead := here.Sub(there); ahead.Abs() > maxApart {
		log.Warn("the clocks of this machine and of redis differ: delayed tasks start early or late by as much; run NTP on both", "ahead", ahead.Round(time.Millisecond))
	}
}
