// Package redisdb makes the client with which Gale uses Redis: a server, a cluster, or
// the embedded state server.
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

// Default values. Parameters in the address, such as ?read_timeout=5s, override them
// (go-redis, ParseURL). The defaults of go-redis itself are not suitable: it dials five
// times and sends each command up to four times. If Redis is unavailable, a command then
// fails only after ten seconds. If the response to a write is late, Redis executes the write
// twice.
const (
	dialTimeout = time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = 2 * time.Second
	poolSize    = 32 // connections per process and server
)

// Options configure a client. The zero value of a field means the documented default.
// Parameters in the address override them.
type Options struct {
	// Dial is the timeout of a new connection, IO that of a read or write on it.
	// Defaults 1 s and 2 s.
	Dial, IO time.Duration
	// Retries is the number of times that a command is sent again if there was no
	// response. Set it only if all commands may be executed more than once.
	// Default 0.
	Retries int
	// OnConnect is called for each new connection. Default: none.
	OnConnect func(context.Context, *redis.Conn) error
	// Logger gets a record if Redis refuses a command. The attribute todo says what to do.
	// Each kind of refusal is logged at most once a minute. Default: no log.
	Logger *slog.Logger
}

// Open makes a client. addresses is one URL with the scheme redis, rediss (TLS) or unix,
// or several redis or rediss URLs, separated by commas. These are nodes of one cluster
// with the same user and password. Open does not connect. The error says what is wrong
// with the addresses, and does not contain the password.
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
		c.AddHook(refusals{NewProblemLog(o.Logger)})
	}
	return c, nil
}

// SetLogger makes log the logger of go-redis itself, which logs broken connections. The
// level is debug, because users of a client get errors. go-redis has one logger in a
// process, so call SetLogger once, at the start.
func SetLogger(log *slog.Logger) { redis.SetLogger(driverLog{log}) }

type driverLog struct{ log *slog.Logger }

// Printf implements go-redis's internal.Logging.
func (l driverLog) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "message of go-redis", "text", fmt.Sprintf(format, args...))
	}
}

// Check returns the error that Open would return for addresses.
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
		c.TLSConfig.ServerName = "" // it differs between nodes
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
			err = u.Err // u itself contains the password
		}
		return nil, fmt.Errorf("not a Redis address: %s", strings.TrimPrefix(err.Error(), "redis: "))
	}
	if o.Addr == "" {
		return nil, errors.New("not a Redis address: unix:// without the path of a socket")
	}
	o.DialTimeout = cmp.Or(o.DialTimeout, options.Dial, dialTimeout)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, options.IO, ioTimeout)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, options.IO, ioTimeout)
	o.PoolTimeout = cmp.Or(o.PoolTimeout, poolTimeout)
	o.PoolSize = cmp.Or(o.PoolSize, poolSize)
	o.MaxRetries = cmp.Or(o.MaxRetries, options.Retries, -1)
	if q, err := url.Parse(address); err == nil { // go-redis does not distinguish a zero from a missing parameter
		switch given := q.Query(); {
		case isZero(given, "pool_size"):
			return nil, errors.New("not a Redis address: pool_size must be more than zero")
		case isZero(given, "max_retries"):
			o.MaxRetries = -1
		}
	}
	o.DialerRetries = 1
	o.OnConnect = options.OnConnect
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true // saves two commands on each connection
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// isZero reports whether a parameter exists and is zero.
func isZero(given url.Values, name string) bool {
	if !given.Has(name) {
		return false
	}
	n, err := strconv.Atoi(given[name][len(given[name])-1]) // the last one counts
	return err == nil && n == 0
}
