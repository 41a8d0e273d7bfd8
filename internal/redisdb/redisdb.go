// Package redisdb makes the one client through which Gale speaks to Redis: a
// server, a cluster, or the store slot, which to a client are all the same.
package redisdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What a URL may say otherwise by parameters such as ?read_timeout=5s
// (go-redis, ParseURL). go-redis by itself dials five times and tries each
// command four times: with Redis away that is ten seconds, and a write that
// was only answered late is done twice.
const (
	dialTimeout = time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = 2 * time.Second
	poolSize    = 32 // connections per process and server
)

// Options are what a user of Redis may need otherwise. The zero value of a
// field is its default; what a URL says wins.
type Options struct {
	// Dial and IO are how long a connection, and an answer on it, may take.
	// Defaults 1 s and 2 s.
	Dial, IO time.Duration
	// Retries is how often a command is sent again that got no answer: only
	// for those that bear it. Default 0.
	Retries int
	// OnConnect is called for each new connection. Default: none.
	OnConnect func(context.Context, *redis.Conn) error
	// Logger gets a line, at most one a minute for each kind, when Redis refuses
	// commands, with what to do about it. Default: none.
	Logger *slog.Logger
}

// Open makes a client for addresses: redis://, rediss:// (TLS) or unix://; or
// several of the first two, comma separated, which are members of one cluster
// with the same user and password. Nothing is dialled yet. The
// error says what is wrong with the addresses and holds no password.
func Open(addresses string, o Options) (redis.UniversalClient, error) {
	single, cluster, err := parse(addresses, o)
	var c redis.UniversalClient
	switch {
	case err != nil:
		return nil, err
	case cluster != nil:
		c = redis.NewClusterClient(cluster)
	default:
		c = redis.NewClient(single)
	}
	if o.Logger != nil {
		c.AddHook(refusals{NewTroubles(o.Logger)})
	}
	return c, nil
}

// Log sends what go-redis itself has to say, about connections that broke, to
// log at the level debug. go-redis has one logger for the whole process: call it
// once, where the process begins. Who uses a client learns by its errors.
func Log(log *slog.Logger) { redis.SetLogger(driverLog{log}) }

type driverLog struct{ log *slog.Logger }

// Printf implements go-redis's internal.Logging.
func (l driverLog) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "go-redis reports", "text", fmt.Sprintf(format, args...))
	}
}

// Check says what is wrong with addresses, as Open would.
func Check(addresses string) error {
	_, _, err := parse(addresses, Options{})
	return err
}

func parse(addresses string, options Options) (*redis.Options, *redis.ClusterOptions, error) {
	var all []*redis.Options
	for address := range strings.SplitSeq(addresses, ",") {
		o, err := parseOne(strings.TrimSpace(address), options)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, o)
	}
	first := all[0]
	if len(all) == 1 {
		return first, nil, nil
	}
	c := &redis.ClusterOptions{
		Username: first.Username, Password: first.Password, TLSConfig: first.TLSConfig,
		MaxRetries: first.MaxRetries, DialTimeout: first.DialTimeout, DialerRetries: first.DialerRetries,
		ReadTimeout: first.ReadTimeout, WriteTimeout: first.WriteTimeout, ContextTimeoutEnabled: true,
		PoolSize: first.PoolSize, PoolTimeout: first.PoolTimeout, OnConnect: first.OnConnect,
		DisableIdentity: true, MaintNotificationsConfig: first.MaintNotificationsConfig,
	}
	if c.TLSConfig != nil {
		c.TLSConfig = c.TLSConfig.Clone()
		c.TLSConfig.ServerName = "" // each node has its own
	}
	for _, o := range all {
		switch {
		case o.Network == "unix":
			return nil, nil, errors.New("a cluster cannot be reached over unix://")
		case (o.TLSConfig == nil) != (first.TLSConfig == nil):
			return nil, nil, errors.New("all addresses of a cluster are redis://, or all are rediss://")
		case o.DB != 0:
			return nil, nil, errors.New("a cluster has database 0 only")
		case o.Username != first.Username || o.Password != first.Password:
			return nil, nil, errors.New("all addresses of a cluster have the same user and password")
		}
		c.Addrs = append(c.Addrs, o.Addr)
	}
	return nil, c, nil
}

func parseOne(address string, options Options) (*redis.Options, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the whole of it shows the password
		}
		return nil, fmt.Errorf("no Redis address: %s", strings.TrimPrefix(err.Error(), "redis: "))
	}
	if o.Addr == "" {
		return nil, errors.New("no Redis address: unix:// names no socket")
	}
	o.DialTimeout = cmp.Or(o.DialTimeout, options.Dial, dialTimeout)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, options.IO, ioTimeout)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, options.IO, ioTimeout)
	o.PoolTimeout = cmp.Or(o.PoolTimeout, poolTimeout)
	o.PoolSize = cmp.Or(o.PoolSize, poolSize)
	o.MaxRetries = cmp.Or(o.MaxRetries, options.Retries, -1)
	if q, err := url.Parse(address); err == nil { // what a zero in it means go-redis does not tell
		switch given := q.Query(); {
		case isZero(given, "pool_size"):
			return nil, errors.New("no Redis address: pool_size must be more than zero")
		case isZero(given, "max_retries"):
			o.MaxRetries = -1
		}
	}
	o.DialerRetries = 1
	o.OnConnect = options.OnConnect
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true // two commands less on every connection
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// isZero reports whether a parameter is there with a number that is zero.
func isZero(given url.Values, name string) bool {
	if !given.Has(name) {
		return false
	}
	n, err := strconv.Atoi(given[name][len(given[name])-1]) // the last one counts
	return err == nil && n == 0
}
