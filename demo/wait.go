package demo

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/server"
)

const (
	// maxDelay is the largest value of the query parameter s.
	maxDelay = time.Minute

	// Limits of /sleep, which keeps a worker of the pool busy: number of steps, and
	// total duration.
	maxSleepSteps = 1000
	maxSleep      = 10 * time.Minute
)

// waitRoutes serve requests that wait: delay outside the bounded pool, sleep inside it.
type waitRoutes struct {
	pool app.Pool
	log  *slog.Logger
}

// delay serves GET /delay. While it waits, it occupies only its connection and no worker of
// the pool.
func (*waitRoutes) delay(ctx *fasthttp.RequestCtx) error {
	wait, err := server.QueryDuration(ctx, "s", time.Second, maxDelay)
	if err != nil {
		return err
	}
	gone, stop := server.Gone(ctx)
	defer stop()
	if err := pause(gone, wait); err != nil {
		return err
	}
	server.WriteText(ctx, fasthttp.StatusOK, "Hello, world!")
	return nil
}

// sleep serves GET /sleep: blocking work in the bounded pool.
func (w *waitRoutes) sleep(ctx *fasthttp.RequestCtx) error {
	each, err := server.QueryDuration(ctx, "s", time.Second, maxDelay)
	if err != nil {
		return err
	}
	steps, err := server.QueryInt(ctx, "steps", 15, maxSleepSteps)
	if err != nil {
		return err
	}
	if total := time.Duration(steps) * each; total > maxSleep {
		return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("steps * s: %v is more than the limit of %v", total, maxSleep))
	}
	gone, stop := server.Gone(ctx)
	defer stop()
	var started time.Time
	err = w.pool.Do(gone, func(gone context.Context) error {
		started = time.Now()
		for n := range steps {
			w.log.Info("step " + strconv.Itoa(n+1)) // users of the replaced application search the log for this text
			if err := pause(gone, each); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	server.WriteText(ctx, fasthttp.StatusOK, "Finish "+started.Format(time.DateTime))
	return nil
}

// pause waits for d. If ctx ends first, it returns the cause of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
