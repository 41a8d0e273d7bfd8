package machinery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/pool"
)

// ErrStuck is returned by Worker.Run when a handler does not return within
// Options.Overrun after its context has ended. A goroutine cannot be stopped from
// outside, so the process must exit.
var ErrStuck = errors.New("a handler did not return after its context ended; restart the worker process")

// handle runs the handler. It stops waiting for it Options.Overrun after the end of its
// context.
func (r *run) handle(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { // ends with the handler, or with the process if that is stuck
		ended <- pool.Protect(func() error { return r.handler(ctx, r.job) })
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limit := time.NewTimer(r.overrun)
	defer limit.Stop()
	select {
	case err := <-ended:
		return err
	case <-limit.C:
	}
	r.log.Error("handler did not return after its context ended; stopping this worker", "cause", context.Cause(ctx), "waited", r.overrun)
	r.stuck()
	return fmt.Errorf("%w, and did not stop within %v", context.Cause(ctx), r.overrun)
}
