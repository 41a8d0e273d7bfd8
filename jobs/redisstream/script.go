package redisstream

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

//go:embed lua/*.lua
var sources embed.FS

// Scripts compute the names of their keys. Redis requires keys as arguments only to find the
// right node of a cluster. One key is passed, which is enough, because all others have the
// same hash tag.
var (
	enqueueScript, groupScript, leaseScript, extendScript, releaseScript,
	reclaimScript, progressScript, finishScript, endScript, othersScript,
	recordScript, getScript, depthScript, unclaimedScript, listScript,
	changeScript, purgeScript, abortScript, heldScript, pauseScript,
	markScript, logScript, readLogScript, pingScript, probeScript *redis.Script
)

// makeScripts makes the scripts, for the first store that is opened: a server without Redis does
// not need them.
var makeScripts = sync.OnceFunc(func() {
	enqueueScript = script("enqueue")
	groupScript = script("group")
	leaseScript = script(whenFull, "audit", "lease")
	extendScript = script(whenFull, "extend")
	releaseScript = script(whenFull, "release")
	reclaimScript = script(whenFull, "reclaim")
	progressScript = script("progress")
	finishScript = script(whenFull, "outcome", "finish")
	endScript = script(whenFull, "outcome", "end")
	othersScript = script(whenFull, "others")
	recordScript = script(whenFull, "record")
	getScript = script(whenFull, "get")
	depthScript = script(whenFull, "depth")
	unclaimedScript = script(whenFull, "unclaimed")
	listScript = script("list")
	changeScript = script(whenFull, "change")
	purgeScript = script(whenFull, "purge")
	abortScript = script(whenFull, "abort")
	heldScript = script("held")
	pauseScript = script(whenFull, "pause")
	markScript = script("mark")
	logScript = script("log")
	readLogScript = script("readlog")
	pingScript = script("ping")
	probeScript = script("probe")
})

// whenFull allows a script to write when Redis has reached maxmemory. The scripts by which
// tasks run and end have it, because ended tasks free memory. Redis then refuses the writes
// of all other scripts, for example enqueue (OOM).
const whenFull = "#!lua flags=allow-oom"

// script concatenates lib.lua and further files of the folder lua.
func script(names ...string) *redis.Script {
	var text strings.Builder
	if names[0] == whenFull {
		text.WriteString(whenFull + "\n")
		names = names[1:]
	}
	for _, name := range append([]string{"lib"}, names...) {
		part, err := sources.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // cannot fail: the files are embedded
		}
		text.Write(part)
		text.WriteByte('\n')
	}
	return redisdb.NewScript(text.String())
}

var errClosed = fmt.Errorf("%w: it was closed in this process", jobs.ErrUnavailable)

// run runs a script in a round trip of its own and returns its reply.
func (s *Store) run(ctx context.Context, script *redis.Script, args ...any) ([]any, error) {
	return s.send(ctx, args, func(args []any) (any, error) {
		return script.Run(ctx, s.client, []string{s.key}, args...).Result()
	})
}

// call runs a script in a batch with others, see batcher.
func (s *Store) call(ctx context.Context, script *redis.Script, args ...any) ([]any, error) {
	return s.send(ctx, args, func(args []any) (any, error) { return s.batch.do(ctx, script, args) })
}

// commonArgs is the number of arguments that every script gets before its own.
const commonArgs = 4

// send sends a script with the common arguments before args.
func (s *Store) send(ctx context.Context, args []any, do func(args []any) (any, error)) ([]any, error) {
	select {
	case <-s.closed:
		return nil, errClosed
	default:
	}
	all := make([]any, 0, commonArgs+len(args))
	all = append(all, driver.SuspectAfter, s.opts.MaxLost, s.opts.Keep.Milliseconds(), driver.MaxFailures)
	if !s.checked.Load() {
		if err := s.checkServers(ctx); errors.Is(err, errOld) || errors.Is(err, errNewer) {
			return nil, unavailable(err)
		}
	}
	reply, err := do(append(all, args...))
	if err != nil {
		return nil, s.unavailable(ctx, err)
	}
	if list, ok := reply.([]any); ok {
		return list, nil
	}
	return []any{reply}, nil
}

// callInTime is call with the time limit Options.Patience.
func (s *Store) callInTime(ctx context.Context, script *redis.Script, args ...any) ([]any, error) {
	within, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	return s.call(within, script, args...)
}

// unavailable converts the error of a call. It returns errClosed after Close, or the cause
// of ctx unless that is a deadline. Other errors it passes to the function unavailable.
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

// unavailable wraps err in jobs.ErrUnavailable, unless it is an error of a script.
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

// micro returns t in microseconds, rounded up, so that a task is never due before its time.
// For the zero time it returns 0, which scripts take as now.
func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.Add(time.Microsecond-1).UnixMicro())
}

func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }
