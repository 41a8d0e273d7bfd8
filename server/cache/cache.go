// Package cache stores computed values in Redis, for all processes and machines. When
// a value expires, only one of them computes it again, and the others wait for it.
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

// Intervals of polling while another process computes: from pollMin, doubling to pollMax.
const (
	pollMin = 5 * time.Millisecond
	pollMax = 100 * time.Millisecond
)

// claim returns the value, or the right to compute it, or neither if another caller
// has that right. KEYS value, right; ARGV holder, lease in ms.
var claim = redisdb.NewScript(`
local value = redis.call('GET', KEYS[1])
if value then return {'value', value} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'yours', ''} end
return {'wait', ''}
`)

// settle stores the computed value and releases the right, if the holder still has it.
// KEYS value, right; ARGV holder, ttl in ms (0: store nothing), value.
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
	// Lease is the time limit of a computation. If the computing process dies, the
	// others wait that long. Default 10 s.
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

// New makes a cache on rdb.
func New(rdb redis.Scripter, o Options) *Cache {
	if o.Name == "" {
		o.Name = "default"
	}
	if o.Lease <= 0 {
		o.Lease = 10 * time.Second
	}
	return &Cache{rdb: rdb, name: o.Name, lease: o.Lease, counts: cmp.Or(o.Counters, new(Counters))}
}

// Get returns the value of key: the stored one, or the result of compute, which is
// stored for ttl (at least a millisecond). fresh is true for the one caller whose
// compute ran. Callers in one process share a query to Redis, and all processes share
// a computation.
//
// If Redis is away, Get calls compute without it. The error is that of compute, a
// *pool.PanicError if it panicked, or the cause of ctx; in the last case the
// computation continues for the other callers.
func (c *Cache) Get(ctx context.Context, key string, ttl time.Duration, compute func(context.Context) (string, error)) (value string, fresh bool, err error) {
	mine := false
	done := c.flight.DoChan(key, func() (any, error) { // ends within two leases
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.lease)
		defer cancel()
		var value string
		err := pool.Protect(func() (err error) {
			value, mine, err = c.get(ctx, key, ttl, compute)
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

// get is Get for one caller of a process at a time.
func (c *Cache) get(ctx context.Context, key string, ttl time.Duration, compute func(context.Context) (string, error)) (value string, fresh bool, err error) {
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
		case err != nil: // Redis is away: compute without it
			value, err = compute(ctx)
			return value, true, err
		case got[0] == "value":
			return got[1], false, nil
		case got[0] == "yours":
			return c.compute(ctx, keys, holder, ttl, compute)
		}
		select {
		case <-ctx.Done():
			return "", false, context.Cause(ctx)
		case <-time.After(poll + rand.N(poll)):
		}
	}
}

// compute computes with the right to do so, and always releases it: after an error the
// others must not wait for the end of the lease.
func (c *Cache) compute(ctx context.Context, keys []string, holder string, ttl time.Duration, compute func(context.Context) (string, error)) (value string, fresh bool, err error) {
	keep := time.Duration(0)
	defer func() {
		// If Redis is away now, the value is not stored, which is harmless.
		_ = settle.Run(ctx, c.rdb, keys, holder, keep.Milliseconds(), value).Err()
	}()
	leased, cancel := context.WithTimeout(ctx, c.lease)
	defer cancel()
	if value, err = compute(leased); err != nil {
		return "", false, err
	}
	keep = ttl
	return value, true, nil
}
