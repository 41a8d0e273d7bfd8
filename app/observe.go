package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
)

// observe lets the master see what a child does: its figures, which are
// published until stop is called, the last ones then; and its profiles, for
// whoever visits it.
func observe(child process, c config.Config, figures prometheus.Gatherer, log *slog.Logger) (stop func()) {
	if c.Admin == "" {
		return func() {} // nobody asks
	}
	ctx, cancel := context.WithCancel(context.Background())
	visited := http.Server{Handler: profiles(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	var observers sync.WaitGroup
	observers.Go(func() { _ = metrics.Publish(ctx, child, figures, log) }) // ends with stop; its error is always nil
	observers.Go(func() { _ = visited.Serve(child.MasterListener()) })     // ends with stop, which is its error
	return func() {
		cancel()
		_ = visited.Close() // a profile that is being taken is cut short
		observers.Wait()
	}
}

// profiles serves the profiles of this process (net/http/pprof), under the
// paths that go tool pprof knows.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
