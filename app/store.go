package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/internal/stateserver"
)

// reserveStore gives a server without -redis its store slot: a place on
// loopback and a password. Both are part of what the children are told, and of
// the environment of the master that follows on a reload, so a store that died
// or was kept is found where it was. release gives the place up.
func reserveStore(c *config.Config, e *env) (release func() error, err error) {
	c.Store = config.StoreIn(e.environ)
	known := c.Store.Address != "" && c.Store.Password != ""
	place, err := stateserver.Reserve(c.Store.Address)
	if err != nil {
		return nil, err
	}
	if !known {
		c.Store = config.Store{Address: place.Addr, Password: rand.Text()}
		e.environ = c.Store.Tell(e.environ)
	}
	c.Redis = "redis://:" + c.Store.Password + "@" + c.Store.Address
	return place.Release, nil
}

// keepStore is the work of the store slot: what the serving children share,
// until ctx has ended and they have left.
func keepStore(ctx context.Context, child process, _ Application, c config.Config, log *slog.Logger) error {
	ln, err := stateserver.Listen(ctx, c.Store.Address)
	if err != nil {
		return fmt.Errorf("%w; it was %s's since the server started", err, child.Slot())
	}
	defer observe(child, c, metrics.NewRegistry(metrics.Sources{}), log)()
	if err := child.Ready(); err != nil {
		log.Warn("cannot tell the master", "error", err)
	}
	return stateserver.Serve(ctx, ln, c.Store.Password, lessThan(c.Grace))
}
