package place

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
)

// key is a sorted set of the entries of serving processes, by the time at which they expire.
const key = "gale:places"

const (
	// interval is the time between two updates.
	interval = 20 * time.Second
	// expiry is the time after which the entry of a killed process is removed.
	expiry = time.Minute
	// patience is the time limit of a call.
	patience = 5 * time.Second
)

// update removes the expired entries, adds an entry unless it is empty, and returns all. It
// uses the clock of Redis.
var update = redisdb.NewScript(`
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1]) end
return redis.call('ZRANGE', KEYS[1], 0, -1)
`)

// Register holds the places of the serving processes that share a task store in Redis.
type Register struct {
	client redis.UniversalClient
	log    *slog.Logger
}

// entry is the entry of a serving process.
type entry struct {
	Process string `json:"process"` // unique, so that no process removes the entry of another one
	Place
}

// Open opens the register at an address for redisdb.Open. It does not connect.
func Open(address string, log *slog.Logger) (*Register, error) {
	client, err := redisdb.Open(address, redisdb.Options{})
	if err != nil {
		return nil, err
	}
	return &Register{client, log}, nil
}

// Close releases the connections.
func (r *Register) Close() error { return r.client.Close() }

// Others returns the places of serving processes that are not own, without duplicates.
func (r *Register) Others(ctx context.Context, own Place) ([]Place, error) {
	return r.update(ctx, own, "")
}

func (r *Register) update(ctx context.Context, own Place, member string) ([]Place, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	texts, err := update.Run(ctx, r.client, []string{key}, member, int(expiry.Seconds())).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("compare places of files: %w", err)
	}
	var others []Place
	for _, text := range texts {
		var e entry
		if json.Unmarshal([]byte(text), &e) == nil && e.ID != own.ID && !slices.Contains(others, e.Place) {
			others = append(others, e.Place)
		}
	}
	return others, nil
}

// warning is the log message for servers with another place.
const warning = "other servers keep uploaded files in another place, where tasks do not find those of this one: set the same -files on all servers and workers, or -upload-dir to a shared folder"

// Announce keeps an entry for the serving process with that name, which is unique, and warns
// if there are other places. It runs until ctx ends, and then removes the entry.
func (r *Register) Announce(ctx context.Context, process string, own Place) error {
	text, err := json.Marshal(entry{process, own})
	if err != nil {
		return fmt.Errorf("encode place of files: %w", err)
	}
	r.watch(ctx, own, string(text))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := r.client.ZRem(ctx, key, text).Err(); err != nil {
		r.log.Debug("place of files not removed, it expires by itself", "error", err)
	}
	return nil
}

// Watch warns if there are other places than own, until ctx ends.
func (r *Register) Watch(ctx context.Context, own Place) error {
	r.watch(ctx, own, "")
	return nil
}

func (r *Register) watch(ctx context.Context, own Place, member string) {
	problems := redisdb.NewProblemLog(r.log)
	again := time.NewTicker(interval)
	defer again.Stop()
	for {
		others, err := r.update(ctx, own, member)
		switch {
		case err != nil && ctx.Err() == nil:
			r.log.Debug("places of files not compared", "error", err) // the task store logs that Redis does not respond
		case len(others) > 0:
			problems.Report(warning, "", errors.New("found "+texts(others)), "here", own.Text)
		case err == nil:
			problems.Resolve(warning, "", "all servers keep uploaded files in the same place")
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

func texts(places []Place) string {
	all := make([]string, len(places))
	for i, p := range places {
		all[i] = p.Text
	}
	return strings.Join(all, ", ")
}

// Check returns an error if a server has another place than own. tasks are those that this
// server or worker would run for uploaded files.
func (r *Register) Check(ctx context.Context, own Place, tasks []string) error {
	others, err := r.Others(ctx, own)
	if err != nil {
		r.log.Warn("places of uploaded files not compared with those of the servers", "error", err)
		return nil
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("the workers would not find uploaded files for %s: servers keep them in %s, the workers here in %s; "+
		"set the same -files on all servers and workers, or -upload-dir to a shared folder",
		strings.Join(tasks, ", "), texts(others), own.Text)
}
