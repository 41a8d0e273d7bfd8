package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/history"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/app/internal/statsd"
	"github.com/galeserver/gale/prefork"
)

// adminTimeout is how long the admin endpoint waits for the master's status.
const adminTimeout = 2 * time.Second

// admin is the admin endpoint: status, health, metrics and profiles. It uses net/http
// and not fasthttp, because the handlers for metrics and profiles are net/http handlers
// and a few requests per minute need no speed.
type admin struct {
	ln      net.Listener // nil if the endpoint is off
	server  http.Server
	master  supervisor
	version string
	log     *slog.Logger

	collector *metrics.Collector
	queues    *metrics.Queues
	statsd    *statsd.Sender // nil without -statsd
	closed    chan struct{}  // closed by close
	closeOnce sync.Once
	history   *history.History // nil if the endpoint is off
}

// statusResponse is the body of GET /status.
type statusResponse struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// ReloadFailed is the error of the last reload, or empty if it succeeded.
	ReloadFailed string `json:"reload_failed,omitempty"`
	// The other fields are those of prefork.Status.
	Reloads        int                  `json:"reloads"`
	RefusedReloads int                  `json:"refused_reloads"`
	Reloading      bool                 `json:"reloading"`
	Stopping       bool                 `json:"stopping"`
	Slots          []prefork.SlotStatus `json:"slots"`
}

// listenAdmin opens the admin endpoint on the address of -admin: host:port or
// unix:/path. If the address is empty, the endpoint is off. h is the history, which runs with
// the endpoint.
func listenAdmin(ctx context.Context, c config.Config, m supervisor, version string, d diagnosticsSource, h *history.History, log *slog.Logger) (*admin, error) {
	a := &admin{
		master: m, version: version, log: log, history: h, closed: make(chan struct{}),
		queues: metrics.NewQueues(func(ctx context.Context) (metrics.Store, error) { return openTasksForMetrics(ctx, c) }),
	}
	a.collector = metrics.NewCollector(m.Stats, a.queues, version)
	if err := a.openStatsd(c); err != nil {
		return nil, err
	}
	address := c.Admin
	if address == "" {
		return a, nil
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
		removeStaleSocket(ctx, path)
	}
	var err error
	if a.ln, err = m.ListenPersistent(ctx, network, address); err != nil && !m.Resumed() {
		return nil, fmt.Errorf("admin endpoint: %w; change -admin, or set it to \"\" to switch the endpoint off", err)
	} else if err != nil {
		// After a reload the children still serve, so the master must not end.
		log.Error("cannot open the admin endpoint, it is off until the next reload; check -admin", "addr", address, "error", err)
		return a, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /metrics", a.metrics)
	mux.HandleFunc("GET /history", a.getHistory)
	a.handleControl(mux, mayControl(c))
	a.handleDiagnostics(mux, c, d, log)
	mux.Handle("/debug/pprof/{slot}/{profile...}", newProfiler(m, c, log))
	a.server = http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.Info("admin endpoint", "addr", a.ln.Addr().String())
	return a, nil
}

// removeStaleSocket removes the Unix socket at path if no process listens on it.
func removeStaleSocket(ctx context.Context, path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return
	}
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}

// openStatsd makes the sender of the metrics for -statsd.
func (a *admin) openStatsd(c config.Config) error {
	if c.Statsd == "" {
		return nil
	}
	target, err := statsd.Parse(c.Statsd)
	if err != nil {
		return err
	}
	a.statsd = statsd.New(target, func(ctx context.Context) ([]*dto.MetricFamily, error) { return a.collector.Gather(ctx) }, statsd.Options{Resumed: a.master.Resumed(), Logger: a.log})
	a.collector.ObserveStatsd(a.statsd.Up)
	return nil
}

// serve serves, and sends metrics to -statsd, until close is called.
func (a *admin) serve() error {
	ctx, cancel := context.WithCancel(context.Background())
	var background, sending errgroup.Group
	background.Go(func() error { return a.queues.Run(ctx) }) // ends with cancel
	sendCtx, stopSending := context.WithCancel(ctx)
	if a.statsd != nil {
		sending.Go(func() error { return a.statsd.Run(sendCtx) }) // ends with stopSending
	}
	err := http.ErrServerClosed
	if a.ln != nil {
		background.Go(func() error { return a.history.Run(ctx, a.collector.Totals) }) // ends with cancel
		err = a.server.Serve(a.ln)
	} else {
		<-a.closed
	}
	stopSending()
	_ = sending.Wait() // always nil; it gathers the metrics of queues, too
	cancel()
	if closeErr := background.Wait(); closeErr != nil {
		a.log.Warn("cannot close the admin endpoint's task store", "error", closeErr)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin endpoint: %w", err)
	}
	return nil
}

func (a *admin) close() {
	a.closeOnce.Do(func() { close(a.closed) })
	if a.ln != nil {
		_ = a.server.Close()
	}
}

// masterStatus returns the master's status. It fails if the master's goroutine does not
// respond within adminTimeout.
func (a *admin) masterStatus(r *http.Request) (prefork.Status, error) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	return a.master.Status(ctx)
}

// healthz reports whether the master responds.
func (a *admin) healthz(w http.ResponseWriter, r *http.Request) {
	if _, err := a.masterStatus(r); err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"status": "the master does not respond"})
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz reports whether a load balancer should send traffic to this server: at least
// one slot of every role is live, and the task store accepts tasks. If only some queues
// fail, the server is ready and the response has warnings.
func (a *admin) readyz(w http.ResponseWriter, r *http.Request) {
	s, err := a.masterStatus(r)
	if err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reasons": []string{"the master does not respond"}})
		return
	}
	reasons := notReady(s.Slots)
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	if err := a.queues.Trouble(ctx); err != nil {
		reasons = append(reasons, "the task store does not accept tasks: "+err.Error())
	}
	if len(reasons) > 0 {
		reply(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reasons": reasons})
		return
	}
	ready := map[string]any{"ready": true}
	if broken := a.queues.Broken(); len(broken) > 0 {
		ready["warnings"] = broken
	}
	reply(w, http.StatusOK, ready)
}

// notReady returns one reason for each slot of a role that has no live slot and is needed.
func notReady(slots []prefork.SlotStatus) (reasons []string) {
	live := map[string]bool{}
	for _, s := range slots {
		needed := s.Role == roleServe || s.Role == roleWorker // these work without the embedded state server and worker programs
		live[s.Role] = live[s.Role] || s.State == prefork.StateLive || !needed
	}
	for _, s := range slots {
		if !live[s.Role] {
			reason := fmt.Sprintf("%s is %s", s.Slot, s.State)
			if s.LastExit != "" {
				reason += ", last exit: " + s.LastExit
			}
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

func (a *admin) statusOf(s prefork.Status) statusResponse {
	return statusResponse{a.version, os.Getpid(), s.ReloadFailed, s.Reloads, s.RefusedReloads, s.Reloading, s.Stopping, s.Slots}
}

func (a *admin) status(w http.ResponseWriter, r *http.Request) {
	s, err := a.masterStatus(r)
	if err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"reason": "the master does not respond"})
		return
	}
	reply(w, http.StatusOK, a.statusOf(s))
}

// metrics handles GET /metrics, in the exposition format that the Accept header prefers. With
// parameters name[], as Prometheus' own exporters have, it returns only metrics with these names.
func (a *admin) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	families, err := a.collector.Gather(ctx, r.URL.Query()["name[]"]...)
	if families == nil && err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"reason": "the master does not respond"})
		return
	}
	if err != nil {
		a.log.Warn("cannot read the metrics of a child, /metrics lacks them", "error", err)
	}
	gathered := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
	promhttp.HandlerFor(gathered, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
}

// reply writes v as JSON. Write errors are ignored: the client has disconnected.
func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
