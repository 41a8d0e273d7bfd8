package app

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/history"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/jobs/driver"
)

// newHistory returns the history of a server, or nil without the admin endpoint: nothing can
// read it then. A server and a worker server may share -data and have a file each.
func newHistory(command config.Command, c config.Config, log *slog.Logger) *history.History {
	if c.Admin == "" {
		return nil
	}
	name := "history"
	if command == config.Worker {
		name = "history-worker"
	}
	return history.New(history.Options{Path: filepath.Join(c.Data, name), Logger: log})
}

// getHistory handles GET /history.
func (a *admin) getHistory(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	text, err := a.history.JSON()
	if err != nil {
		a.log.Error("cannot encode the history", "error", err)
		reply(w, http.StatusInternalServerError, map[string]string{"reason": "the history cannot be encoded"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the client has disconnected
}

// waitingReader returns the reader of the number of waiting tasks, or nil if the slot needs
// none: one process of a server reads it for the history, a worker only in "server worker".
func waitingReader(slot string, c config.Config) *metrics.Waiting {
	if c.Admin != "" && (slot == roleServe+".0" || slot == roleWorker+".0" && c.Workers == 0) {
		return new(metrics.Waiting)
	}
	return nil
}

// readWaiting runs the reader until ctx is done.
func readWaiting(w *metrics.Waiting, store driver.Gauger) runFunc {
	return func(ctx context.Context) error {
		if w == nil {
			return nil
		}
		return w.Run(ctx, store)
	}
}
