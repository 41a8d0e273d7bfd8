package console

import (
	"context"
	"errors"
	"time"
)

// historyFresh is how long a history is used: a new point is added every ten seconds.
const historyFresh = 5 * time.Second

var (
	// ErrAdminOff: the admin endpoint is off, so that there is no history.
	ErrAdminOff = errors.New("the admin endpoint is off; set -admin to see the history")
	// ErrAdminAway: the admin endpoint does not respond.
	ErrAdminAway = errors.New("the admin endpoint does not respond; check -admin")
)

// pastLoad is the last history that was read, for all pages.
type pastLoad struct {
	turn chan struct{} // capacity 1: full while a request uses the other fields
	text []byte
	at   time.Time
}

// History returns the load of the last hour and day in JSON, which the master keeps. It is at
// most 15 seconds old. The error is ErrAdminOff, or wraps ErrAdminAway.
func (c *Console) History(ctx context.Context) ([]byte, error) {
	if c.opts.GetAdmin == nil {
		return nil, ErrAdminOff
	}
	select {
	case c.past.turn <- struct{}{}:
		defer func() { <-c.past.turn }()
	case <-ctx.Done():
		return nil, errors.Join(ErrAdminAway, context.Cause(ctx))
	}
	if len(c.past.text) > 0 && time.Since(c.past.at) < historyFresh {
		return c.past.text, nil
	}
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	text, err := c.getAdmin(ctx, "/history")
	if err != nil {
		return nil, errors.Join(ErrAdminAway, err)
	}
	c.past.text, c.past.at = text, time.Now()
	return text, nil
}
