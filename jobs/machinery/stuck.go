package machinery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/galeserver/gale/pool"
)

// ErrStuck is why Worker.Run ends by itself: a handler went on although its
// context had ended. Go cannot stop it, so the process must end.
var ErrStuck = errors.New("a handler did not stop when it was told to; the process has to be replaced")

// handle runs the handler, and leaves it behind if it goes on for
// Options.Overrun after its context has ended: the hard limit.
func (r *run) handle(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { // ends with the handler, or, if that is stuck, with the process
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
	r.log.Error("handler does not stop; the worker is replaced", "cause", context.Cause(ctx), "waited", r.overrun)
	r.stuck()
	return fmt.Errorf("%w, and did not stop within %v", context.Cause(ctx), r.overrun)
}
