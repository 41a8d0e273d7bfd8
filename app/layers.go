package app

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"
)

// runFunc runs until its context is done and its running work has ended.
type runFunc func(ctx context.Context) error

// runLayers runs upper until ctx is done or one of them fails, and lower, which upper uses,
// until all of upper have ended. It calls started when all are running, and ended between
// the two ends.
func runLayers(ctx context.Context, upper, lower []runFunc, started func(), ended func() error) error {
	lowerCtx, stopLower := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLower()
	var below errgroup.Group
	for _, run := range lower {
		below.Go(func() error { return run(lowerCtx) })
	}
	above, aboveCtx := errgroup.WithContext(ctx)
	for _, run := range upper {
		above.Go(func() error { return run(aboveCtx) })
	}
	started()
	err := errors.Join(above.Wait(), ended())
	stopLower()
	return errors.Join(err, below.Wait())
}

// notifyReady tells the master that the slot is ready.
func notifyReady(child process, log *slog.Logger) {
	if err := child.Ready(); err != nil {
		log.Warn("cannot notify the master that the slot is ready", "error", err)
	}
}
