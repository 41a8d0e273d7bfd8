package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/internal/sleep"
	"github.com/galeserver/gale/internal/stateserver"
)

// reserveStateServer reserves a loopback address for the embedded state server of a
// server without -redis, and makes a password. Address and password are part of the
// children's configuration. They are also in the environment of the master that a
// reload executes, so that they stay the same until the server ends. release frees
// the address.
func reserveStateServer(c *config.Config, e *env) (release func() error, err error) {
	c.Store = config.StoreFrom(e.environ)
	known := c.Store.Address != "" && c.Store.Password != "" // set by the master before a reload
	reserved, err := stateserver.Reserve(c.Store.Address)
	if err != nil {
		return nil, err
	}
	if !known {
		c.Store = config.Store{Address: reserved.Addr, Password: rand.Text()}
		e.environ = c.Store.AddTo(e.environ)
	}
	c.Redis = "redis://:" + c.Store.Password + "@" + c.Store.Address
	return reserved.Release, nil
}

// runStateServer runs the slot store.0: the embedded state server, which holds the
// channels, caches and rate limits of the serving processes. When ctx is done, it waits
// until they have disconnected.
func runStateServer(ctx context.Context, child process, _ Application, c config.Config, log *slog.Logger) error {
	ln, err := stateserver.Listen(ctx, c.Store.Address)
	if err != nil {
		return fmt.Errorf("%w; another process has taken the address of %s: stop it, or restart the server", err, child.Slot())
	}
	var none metrics.Sources
	defer startReporting(child, c, metrics.NewRegistry(none), none, log)()
	notifyReady(child, log)
	return stateserver.Serve(ctx, ln, c.Store.Password, drainTime(c.Grace))
}

// stateServerPatience is how long a serving process that starts waits for the embedded state
// server. After that it serves without it, as after a crash of the state server.
const stateServerPatience = 5 * time.Second

// awaitStateServer waits until the embedded state server at addr accepts connections: at the
// start of a server all its processes start at the same time, and the first requests would get
// a 503. Without addr it returns at once.
func awaitStateServer(ctx context.Context, addr string) {
	if addr == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stateServerPatience)
	defer cancel()
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = nc.Close() // nothing was sent
			return
		}
		if !sleep.For(ctx, 5*time.Millisecond) {
			return
		}
	}
}
