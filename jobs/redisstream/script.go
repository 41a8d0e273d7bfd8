package redisstream

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

//go:embed lua/*.lua
var sources embed.FS

// Scripts touch keys that they name themselves. Redis asks that keys be passed,
// so that a cluster can tell where a script belongs: the one that is passed says
// it for all, since they share its hash tag.
var (
	enqueueScript  = script("enqueue")
	groupScript    = script("group")
	leaseScript    = script(whenFull, "audit", "lease")
	extendScript   = script(whenFull, "extend")
	releaseScript  = script(whenFull, "release")
	reclaimScript  = script(whenFull, "reclaim")
	progressScript = script("progress")
	finishScript   = script(whenFull, "finish")
	getScript      = script(whenFull, "get")
	depthScript    = script(whenFull, "depth")
	listScript     = script("list")
	changeScript   = script(whenFull, "change")
	purgeScript    = script(whenFull, "purge")
	abortScript    = script(whenFull, "abort")
	heldScript     = script("held")
	pauseScript    = script(whenFull, "pause")
	markScript     = script("mark")
	logScript      = script("log")
	readLogScript  = script("readlog")
	pingScript     = script("ping")
	probeScript    = script("probe")
)

// whenFull makes a script run in a Redis that has reached maxmemory, too: what
// ends tasks is what makes room. The others are refused then (OOM).
const whenFull = "#!lua flags=allow-oom"

// script joins files below lua to one script, behind lib.lua.
func script(names ...string) *redis.Script {
	var text strings.Builder
	if names[0] == whenFull {
		text.WriteString(whenFull + "\n")
		names = names[1:]
	}
	for _, name := range append([]string{"lib"}, names...) {
		part, err := sources.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // embedded: a fault of the build
		}
		text.Write(append(part, '\n'))
	}
	return redisdb.NewScript(text.String())
}

var errClosed = fmt.Errorf("%w: it is closed", jobs.ErrUnavailable)

// run runs a script by itself and returns its answer.
func (s *Store) run(ctx context.Context, script *redis.Script, args ...any) ([]any, error) {
	return s.ask(ctx, args, func(args []any) (any, error) {
		return script.Run(ctx, s.client, []string{s.key}, args...).Result()
	})
}

// call runs a script together with others that are called meanwhile.
func (s *Store) call(ctx context.Context, script *redis.Script, args ...any) ([]any, error) {
	return s.ask(ctx, args, func(args []any) (any, error) { return s.batch.do(ctx, script, args) })
}

// preamble is how many values all scripts are told before their own.
const preamble = 4

// ask puts what all scripts are told before the arguments.
func (s *Store) ask(ctx context.Context, args []any, send func(args []any) (any, error)) ([]any, error) {
	select {
	case <-s.closed:
		return nil, errClosed
	default:
	}
	all := make([]any, 0, preamble+len(args))
	all = append(all, driver.SuspectAfter, s.opts.MaxLost, s.opts.Keep.Milliseconds(), driver.MaxFailures)
	if !s.looked.Load() {
		if err := s.look(ctx); errors.Is(err, errOld) {
			return nil, unavailable(err)
		}
	}
	answer, err := send(append(all, args...))
	if err != nil {
		return nil, s.unavailable(ctx, err)
	}
	if list, ok := answer.([]any); ok {
		return list, nil
	}
	return []any{answer}, nil
}

// soon runs a script that a client waits for.
func (s *Store) soon(ctx context.Context, script *redis.Script, args ...any) ([]any, error) {
	within, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	return s.call(within, script, args...)
}

// unavailable words an error of a call.
func (s *Store) unavailable(ctx context.Context, err error) error {
	select {
	case <-s.closed:
		return errClosed
	default:
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", jobs.ErrUnavailable, cause)
	}
	return unavailable(err)
}

// unavailable wraps err in jobs.ErrUnavailable if the server is at fault and
// not a script.
func unavailable(err error) error {
	todo, refused := redisdb.Advice(err)
	if _, reply := errors.AsType[redis.Error](err); reply && !refused && strings.HasPrefix(err.Error(), "ERR ") {
		return err
	}
	if refused {
		return fmt.Errorf("%w: %w: %s", jobs.ErrUnavailable, err, todo)
	}
	return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
}

// micro rounds up, so that a task is never due before its time; 0 is now.
func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.Add(time.Microsecond-1).UnixMicro())
}

func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }
