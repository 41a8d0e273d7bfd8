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

// startReporting gives the master access to the metrics and profiles of a child. It
// publishes the metrics until stop is called, the last time at that moment, and serves
// the profiles on the child's own listener.
func startReporting(child process, c config.Config, figures prometheus.Gatherer, counters metrics.Sources, log *slog.Logger) (stop func()) {
	if c.Admin == "" && c.Statsd == "" {
		return func() {} // nothing reads them
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := http.Server{Handler: profiles(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	var background sync.WaitGroup
	background.Go(func() { _ = metrics.Publish(ctx, child, figures, counters, log) }) // ends with stop; its error is always nil
	background.Go(func() { _ = server.Serve(child.MasterListener()) })                // ends with stop, with ErrServerClosed
	return func() {
		cancel()
		_ = server.Close() // ends a running profile early
		background.Wait()
	}
}

// profiles returns the handler of net/http/pprof with the profiles of this process, at
// the paths that "go tool pprof" expects.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
