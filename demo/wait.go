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
	// maxDelay is how long a client may ask to be kept waiting.
	maxDelay = time.Minute

	// maxSleepSteps and maxSleep bound what one client may keep a worker busy with.
	maxSleepSteps = 1000
	maxSleep      = 10 * time.Minute
)

// waitRoutes wait, one way and the other.
type waitRoutes struct {
	pool app.Pool
	log  *slog.Logger
}

// delay is GET /delay: it waits and holds nothing but its connection.
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

// sleep is GET /sleep: a blocking task in the bounded pool.
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
		return server.Fail(fasthttp.StatusBadRequest, fmt.Sprintf("steps, s: %v in all is more than %v", total, maxSleep))
	}
	gone, stop := server.Gone(ctx)
	defer stop()
	var started time.Time
	err = w.pool.Do(gone, func(gone context.Context) error {
		started = time.Now()
		for n := range steps {
			w.log.Info("step " + strconv.Itoa(n+1)) // in these words, which users of the application look for
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

// pause waits, or returns why ctx ended.
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
