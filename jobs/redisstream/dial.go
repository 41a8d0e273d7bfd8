package redisstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// How long a connection may take: long enough for a busy server, short enough
// for a caller who waits. Calls that a client waits for have Patience besides.
const (
	dialTimeout = 700 * time.Millisecond
	ioTimeout   = 3 * time.Second
)

// CheckAddress says what is wrong with an address, and never its password.
func CheckAddress(address string) error {
	client, err := dial(address, nil)
	if err != nil {
		return err
	}
	return client.Close()
}

// dial makes a client for redis://[user:password@]host:port[/db], rediss:// or
// unix:// (see redis.ParseURL); several addresses, comma separated, are seeds
// of a cluster and have no db. greet is called for each connection. Nothing is
// sent yet.
//
// go-redis waits long by default, five dials for each of four tries; this
// client tries a call twice, which a connection that was closed by a restart of
// the server needs and every script bears.
func dial(address string, greet func(context.Context, *redis.Conn) error) (redis.UniversalClient, error) {
	var seeds []*redis.Options
	for a := range strings.SplitSeq(address, ",") {
		o, err := redis.ParseURL(strings.TrimSpace(a))
		if inURL, ok := errors.AsType[*url.Error](err); ok {
			err = inURL.Err // without the URL, which may hold a password
		}
		if err != nil {
			return nil, fmt.Errorf("redis address %d: %w", len(seeds)+1, err)
		}
		seeds = append(seeds, o)
	}
	if len(seeds) == 1 {
		o := seeds[0]
		o.MaxRetries, o.DialerRetries = 1, 1
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
		o.ContextTimeoutEnabled, o.OnConnect = true, greet
		return redis.NewClient(o), nil
	}
	return dialCluster(seeds, greet)
}

func dialCluster(seeds []*redis.Options, greet func(context.Context, *redis.Conn) error) (redis.UniversalClient, error) {
	first := seeds[0]
	o := &redis.ClusterOptions{
		Username: first.Username, Password: first.Password, TLSConfig: first.TLSConfig,
		MaxRedirects: 3, MaxRetries: 1, DialerRetries: 1,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		ContextTimeoutEnabled: true, OnConnect: greet,
	}
	if o.TLSConfig != nil {
		// The nodes have names of their own.
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	for i, s := range seeds {
		switch {
		case s.DB != 0:
			return nil, fmt.Errorf("redis address %d: a cluster has no databases but 0", i+1)
		case s.Network == "unix":
			return nil, fmt.Errorf("redis address %d: a cluster has no unix sockets", i+1)
		case s.Username != first.Username || s.Password != first.Password || (s.TLSConfig == nil) != (first.TLSConfig == nil):
			return nil, fmt.Errorf("redis address %d: user, password and TLS must be those of the first", i+1)
		}
		o.Addrs = append(o.Addrs, s.Addr)
	}
	return redis.NewClusterClient(o), nil
}
