// Package cache stores computed values in Redis, for all processes and machines. When a
// value has expired, only one caller computes it again. All other callers, in any
// process, wait for that result.
package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/pool"
)

// pollMin and pollMax are the first and the longest interval of polling while another
// process computes. The interval doubles after each poll, and has jitter.
const (
	pollMin = 5 * time.Millisecond
	pollMax = 100 * time.Millisecond
)

// claim returns the value if it is stored. Otherwise it gives the caller the lease, which
// is the right to compute the value, unless another caller holds it. KEYS value, lease;
// ARGV holder, length of the lease in ms.
var claim = redisdb.NewScript(`
local value = redis.call('GET', KEYS[1])
if value then return {'value', value} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'yours', ''} end
return {'wait', ''}
`)

// settle stores the computed value and releases the lease, if the caller still holds it.
// KEYS value, lease; ARGV holder, ttl in ms (0: store nothing), value.
var settle = redisdb.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
redis.call('DEL', KEYS[2])
return 1
`)

// Options configure a Cache. The zero value is the documented default.
type Options struct {
	// Name distinguishes caches on one Redis. Default "default".
	Name string
	// Lease is the time limit of a computation. If the computing process exits, the
	// other callers wait until the lease has expired. Default 10 s.
	Lease time.Duration
	// Counters count the results of Get. Nil: no counting.
	Counters *Counters
}

// Counters count the calls of Get by result. A call whose context ended early does not
// count. The zero value is ready to use.
type Counters struct {
	Hits   atomic.Uint64 // the value was stored, or another caller computed it
	Misses atomic.Uint64 // the caller computed it
	Errors atomic.Uint64 // the computation failed
}

// Cache stores values by key. It is safe for concurrent use.
type Cache struct {
	rdb    redis.Scripter
	name   string
	lease  time.Duration
	flight singleflight.Group
	counts *Counters
}

// New makes a cache that stores its values in rdb.
func New(rdb redis.Scripter, o Options) *Cache {
	if o.Name == "" {
		o.Name = "default"
	}
	if o.Lease <= 0 {
		o.Lease = 10 * time.Second
	}
	return &Cache{rdb: rdb, name: o.Name, lease: o.Lease, counts: cmp.Or(o.Counters, new(Counters))}
}

// Get returns the stored value of key. If there is none, it calls compute and stores the
// result for ttl; a ttl under a millisecond stores nothing. fresh is true only for the
// caller whose compute ran. Concurrent callers in one process share one query to Redis,
// and callers in all processes share one computation. The context of compute ends after
// Options.Lease (without Redis, after at most twice that time), but not with ctx.
//
// If Redis is not available, each process calls compute and stores nothing. Get returns
// the error of compute, a *pool.PanicError if compute panicked, or the cause of ctx if ctx
// ends first; in that case the computation continues for the other callers.
func (c *Cache) Get(ctx context.Context, key string, ttl time.Duration, compute func(context.Context) (string, error)) (value string, fresh bool, err error) {
	return c.GetFor(ctx, key, func(ctx context.Context) (string, time.Duration, error) {
		value, err := compute(ctx)
		return value, ttl, err
	})
}

// GetFor is Get for values whose ttl is known when they are computed: compute returns it.
func (c *Cache) GetFor(ctx context.Context, key string, compute func(context.Context) (value string, ttl time.Duration, err error)) (value string, fresh bool, err error) {
	mine := false
	done := c.flight.DoChan(key, func() (any, error) { // ends within two leases
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.lease)
		defer cancel()
		var value string
		err := pool.Protect(func() (err error) {
			value, mine, err = c.get(ctx, key, compute)
			return err
		})
		return value, err
	})
	select {
	case <-ctx.Done():
		return "", false, context.Cause(ctx)
	case r := <-done:
		value, _ = r.Val.(string)
		fresh = mine && r.Err == nil
		c.counts.add(fresh, r.Err)
		return value, fresh, r.Err
	}
}

func (c *Counters) add(fresh bool, err error) {
	switch {
	case err != nil:
		c.Errors.Add(1)
	case fresh:
		c.Misses.Add(1)
	default:
		c.Hits.Add(1)
	}
}

// get does the work of Get. In a process, at most one call runs for each key.
func (c *Cache) get(ctx context.Context, key string, compute func(context.Context) (string, time.Duration, error)) (value string, fresh bool, err error) {
	// The braces keep both keys on one server of a cluster.
	base := "gale:cache:" + c.name + ":{" + key + "}"
	keys := []string{base, base + ":right"}
	holder := fmt.Sprintf("%x", rand.Uint64())
	for poll := pollMin; ; poll = min(2*poll, pollMax) {
		got, err := claim.Run(ctx, c.rdb, keys, holder, c.lease.Milliseconds()).StringSlice()
		if err == nil && len(got) != 2 {
			err = errors.New("unexpected reply")
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return "", false, context.Cause(ctx)
		case err != nil: // Redis is not available: compute without a lease
			value, _, err = compute(ctx)
			return value, true, err
		case got[0] == "value":
			return got[1], false, nil
		case got[0] == "yours":
			return c.compute(ctx, keys, holder, compute)
		}
		select {
		case <-ctx.Done():
			return "", false, context.Cause(ctx)
		case <-time.After(poll + rand.N(poll)):
		}
	}
}

// compute calls the caller's function while this process holds the lease. It always
// releases the lease, so that after an error the others need not wait until it expires.
func (c *Cache) compute(ctx context.Context, keys []string, holder string, compute func(context.Context) (string, time.Duration, error)) (value string, fresh bool, err error) {
	keep := time.Duration(0)
	defer func() {
		// If Redis is not available now, the value is not stored, which is harmless.
		_ = settle.Run(ctx, c.rdb, keys, holder, keep.Milliseconds(), value).Err()
	}()
	leased, cancel := context.WithTimeout(ctx, c.lease)
	defer cancel()
	value, ttl, err := compute(leased)
	if err != nil {
		return "", false, err
	}
	keep = ttl
	return value, true, nil
}
