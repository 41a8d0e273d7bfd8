// Package limit limits the rate of requests across processes and machines, in Redis.
//
// It uses the generic cell rate algorithm of ATM networks (ITU-T I.371). Each key earns
// one request per interval, which is the window divided by the limit. Redis stores one
// time for each key: the time at which the key will have earned all requests that were
// granted. Each granted request moves that time forward by one interval. A request is
// refused if it would move the time to more than one window in the future. There are no
// fixed windows, so a client cannot make twice the limit of requests around the border of
// two windows.
package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redisdb"
)

// take decides about a request in one atomic step, by the clock of Redis, in
// microseconds. TIME before a write needs Redis 5 or newer. The key expires a second
// after the stored time, since the embedded state server may expire keys slightly early.
// That does no harm: a stored time in the past has the same effect as no key. A stored time more
// than one window ahead means that the clock was set back; the key then has one request left.
//
//	KEYS[1] the key; ARGV[1] interval, ARGV[2] window
//	→ granted (0, 1), remaining, µs until the next request is granted, µs until
//	  the full limit is available
var take = redisdb.NewScript(`
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local earned = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if earned - now > window then earned = now + window - interval end
local moved = earned + interval
if moved - now > window then
  return {0, 0, moved - window - now, earned - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', moved), 'PX', math.ceil((moved - now) / 1000) + 1000)
local remaining = math.floor((window - (moved - now)) / interval)
local retry = 0
if remaining == 0 then retry = moved + interval - window - now end
return {1, remaining, retry, moved - now}
`)

// Options configure a Limiter. The zero value is the documented default.
type Options struct {
	// Name distinguishes limiters on one Redis. Default "default".
	Name string
	// Limit is how many requests a key may make within Window. They may all be made at
	// the same time. Default 1.
	Limit int
	// Window is the time in which a key earns Limit requests. Default 2 s.
	Window time.Duration
	// Counters count the results of Take. Nil: no counting.
	Counters *Counters
}

// Counters count requests by result. The zero value is ready to use.
type Counters struct {
	Granted, Refused atomic.Uint64
	Errors           atomic.Uint64 // calls of Take that failed, since Redis was not available
}

// Limiter grants or refuses requests by key. It is safe for concurrent use.
type Limiter struct {
	rdb              redis.Scripter
	name             string
	limit            int
	interval, window time.Duration
	counters         *Counters
}

// Decision is the result of Take for one request.
type Decision struct {
	Granted    bool
	Limit      int
	Remaining  int           // number of further requests that would be granted now
	RetryAfter time.Duration // time until the next request would be granted; 0 if Remaining is not 0
	Reset      time.Duration // time until Limit requests would be granted at once
	Window     time.Duration
}

// New makes a limiter that stores its state in rdb.
func New(rdb redis.Scripter, o Options) *Limiter {
	if o.Name == "" {
		o.Name = "default"
	}
	if o.Limit <= 0 {
		o.Limit = 1
	}
	if o.Window <= 0 {
		o.Window = 2 * time.Second
	}
	return &Limiter{rdb: rdb, name: o.Name, limit: o.Limit, interval: max(o.Window/time.Duration(o.Limit), time.Microsecond), window: o.Window, counters: cmp.Or(o.Counters, new(Counters))}
}

// Take counts a request for key and decides whether to grant it. A refused request does
// not count. An error means that Redis is not available, not that the request is refused.
func (l *Limiter) Take(ctx context.Context, key string) (Decision, error) {
	got, err := take.Run(ctx, l.rdb, []string{"gale:limit:" + l.name + ":" + key},
		l.interval.Microseconds(), l.window.Microseconds()).Int64Slice()
	if err == nil && len(got) != 4 {
		err = errors.New("unexpected reply")
	}
	if err != nil {
		l.counters.Errors.Add(1)
		return Decision{}, fmt.Errorf("take from limit %s: %w", l.name, err)
	}
	if got[0] == 1 {
		l.counters.Granted.Add(1)
	} else {
		l.counters.Refused.Add(1)
	}
	return Decision{
		Granted: got[0] == 1, Limit: l.limit, Remaining: int(got[1]),
		RetryAfter: time.Duration(got[2]) * time.Microsecond, Reset: time.Duration(got[3]) * time.Microsecond, Window: l.window,
	}, nil
}
