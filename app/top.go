package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/gdamore/tcell/v2"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/top"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/jobs/meter"
)

// topCommand runs the command "top". It reads the admin endpoint and, like the command
// "tasks", opens the task store itself.
func topCommand(ctx context.Context, e env) error {
	o, err := config.LoadTop(e.program, e.args, e.environ)
	if err != nil {
		return err
	}
	if !terminal(e.stdout) {
		return fmt.Errorf("standard output is not a terminal; use %s status and %[1]s tasks list", e.app.command())
	}
	screen, err := tcell.NewScreen()
	if err != nil {
		return fmt.Errorf("open terminal: %w; check TERM, or use %s status", err, e.app.command())
	}
	// Log lines would write over the page.
	silent := slog.New(slog.DiscardHandler)
	redisdb.SetLogger(silent)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err = top.Run(ctx, screen, top.Options{
		Title: e.app.command() + " top", Address: o.Admin, Interval: o.Interval,
		Admin: func(ctx context.Context, page string) (int, []byte, error) { return getAdmin(ctx, o.Admin, page) },
		Open:  func(ctx context.Context) (top.Store, error) { return openTasksForTop(ctx, o.Config, silent) },
	})
	if ctx.Err() != nil { // a signal, which may also have ended a read
		return nil
	}
	return err
}

// openTasksForTop opens the task store. It does not create one.
func openTasksForTop(ctx context.Context, c config.Config, log *slog.Logger) (top.Store, error) {
	if c.Broker == config.SQLite {
		if _, err := os.Stat(taskFile(c)); errors.Is(err, os.ErrNotExist) {
			return nil, noStore(c)
		}
	}
	return asStore(openTasksFor(ctx, c, metricsPatience, meter.NoMeter{}, log))
}
