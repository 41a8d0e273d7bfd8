// Package redislock holds locks across processes and machines, in Redis.
//
// A lock has a holder, and a note that somebody waits for it. The holder renews the lock, and sees
// the note, several times a second. If its process is killed, the lock expires after a few
// seconds.
//
// Redis may forget a lock, and a process that was stopped may hold one that has expired. So a
// lock only avoids that two holders do the same work. What must not happen twice needs another
// condition, such as a conditional write of the state that the lock is for.
package redislock

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
)

// Defaults of Options.
const (
	DefaultTTL   = 3 * time.Second
	DefaultRenew = 250 * time.Millisecond
)

// waitInterval is the time between two attempts of a waiting request.
const waitInterval = 50 * time.Millisecond

// Options configure Locks. Each zero field means the documented default.
type Options struct {
	// TTL is the time after which the lock of a killed process expires. Default 3 s.
	TTL time.Duration
	// Renew is the time between two renewals, and so the time after which a holder learns
	// that somebody waits. Default 250 ms.
	Renew time.Duration
}

// Locks are the locks with one prefix in Redis. New makes one. It is safe for concurrent use.
type Locks struct {
	rdb    redis.Scripter
	prefix string
	opts   Options
}

// New returns the locks whose keys in Redis begin with gale:lock:, name and a colon.
func New(rdb redis.Scripter, name string, o Options) *Locks {
	o.TTL = cmp.Or(max(o.TTL, 0), DefaultTTL)
	o.Renew = cmp.Or(max(o.Renew, 0), DefaultRenew)
	return &Locks{rdb: rdb, prefix: "gale:lock:" + name + ":", opts: o}
}

// take takes the lock, or notes that somebody waits for it.
//
//	KEYS[1] the lock, KEYS[2] the note; ARGV[1] token of the holder, ARGV[2] TTL in ms,
//	ARGV[3] 1 to leave a note → 1 if the lock was taken
var take = redisdb.NewScript(`
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('DEL', KEYS[2])
  return 1
end
if ARGV[3] == '1' then redis.call('SET', KEYS[2], '1', 'PX', ARGV[2]) end
return 0
`)

// renew prolongs the lock. A lock that Redis has forgotten is set again.
//
//	as for take → 0 if all is well, 1 if somebody waits, 2 if another holder has the lock
var renew = redisdb.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 2 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('EXISTS', KEYS[2])
`)

// release removes the lock if the holder still has it.
var release = redisdb.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
`)

// Lock is a lock that this process holds. The caller must call Release.
type Lock struct {
	locks  *Locks
	keys   []string
	token  string
	wanted atomic.Bool
	stop   context.CancelFunc
	beat   sync.WaitGroup
}

// Acquire waits until nobody else holds the lock, and takes it. If ctx ends first, the error
// is its cause. Any other error means that Redis is not available.
func (l *Locks) Acquire(ctx context.Context, name string) (*Lock, error) {
	again := time.NewTicker(waitInterval)
	defer again.Stop()
	token := rand.Text()
	for {
		lock, err := l.try(ctx, name, token, true)
		if lock != nil || err != nil {
			return lock, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Try is Acquire without waiting. It returns nil if somebody else holds the lock, who does not
// learn of the attempt.
func (l *Locks) Try(ctx context.Context, name string) (*Lock, error) {
	return l.try(ctx, name, rand.Text(), false)
}

func (l *Locks) try(ctx context.Context, name, token string, note bool) (*Lock, error) {
	key := l.prefix + "{" + name + "}" // the braces keep both keys on one node of a cluster
	lock := &Lock{locks: l, keys: []string{key, key + ":wanted"}, token: token}
	// Not with the end of ctx: Redis may have taken the lock when ctx ends. The client has
	// timeouts of its own.
	taken, err := take.Run(context.WithoutCancel(ctx), l.rdb, lock.keys, token, l.opts.TTL.Milliseconds(), note).Int()
	if err != nil {
		return nil, fmt.Errorf("take lock: %w", err)
	}
	if taken == 0 {
		return nil, nil //nolint:nilnil // documented by Try
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	lock.stop = stop
	lock.beat.Go(func() { lock.renew(renewing) }) // ends with Release
	return lock, nil
}

// renew renews the lock until ctx ends. While Redis is not available, the holder goes on:
// nobody else can take the lock.
func (k *Lock) renew(ctx context.Context) {
	every := time.NewTicker(k.locks.opts.Renew)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		state, err := renew.Run(ctx, k.locks.rdb, k.keys, k.token, k.locks.opts.TTL.Milliseconds()).Int()
		if err == nil {
			k.wanted.Store(state != 0)
		}
		if state == 2 {
			return
		}
	}
}

// Wanted reports whether somebody waits for the lock, or has taken it after it expired.
func (k *Lock) Wanted() bool { return k.wanted.Load() }

// releaseTimeout is the time limit of Release. After it the lock expires.
const releaseTimeout = time.Second

// Release ends the hold.
func (k *Lock) Release() {
	k.stop()
	k.beat.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	_ = release.Run(ctx, k.locks.rdb, k.keys, k.token).Err() // else it expires
}
