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
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/prefork"
)

// adminTimeout bounds how long the master may take to answer about itself.
const adminTimeout = 2 * time.Second

// admin is the endpoint for people and machines that watch the server. It is
// net/http, not fasthttp: it answers a few requests a minute, and profiles and
// metrics are made for net/http.
type admin struct {
	ln      net.Listener // nil: turned off
	server  http.Server
	master  supervisor
	version string
	log     *slog.Logger

	collector *metrics.Collector
	queues    *metrics.Queues
}

// statusAnswer is what GET /status answers.
type statusAnswer struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// ReloadFailed is why the last reload changed nothing, if it did not.
	ReloadFailed string               `json:"reload_failed,omitempty"`
	Slots        []prefork.SlotStatus `json:"slots"`
}

// listenAdmin binds the endpoint: host:port, unix:/path, or nothing for an
// empty address.
func listenAdmin(ctx context.Context, c config.Config, m supervisor, version string, log *slog.Logger) (*admin, error) {
	a := &admin{master: m, version: version, log: log, queues: metrics.NewQueues(func(ctx context.Context) (metrics.Store, error) { return lookIntoTasks(ctx, c) })}
	a.collector = metrics.NewCollector(m.Stats, a.queues, version)
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
		return nil, fmt.Errorf("admin endpoint: %w; give another -admin, or an empty one for none", err)
	} else if err != nil {
		// Behind a reload the server goes on: its children have not changed.
		log.Error("admin endpoint is off", "addr", address, "error", err)
		return a, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /metrics", a.metrics)
	mux.Handle("/debug/pprof/{slot}/{profile...}", newProfiler(m, c, log))
	a.server = http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.Info("admin endpoint", "addr", a.ln.Addr().String())
	return a, nil
}

// removeStaleSocket removes a socket that no process listens on any more.
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

// serve serves until close is called.
func (a *admin) serve() error {
	if a.ln == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	var asking errgroup.Group
	asking.Go(func() error { return a.queues.Run(ctx) }) // ends when Serve has
	err := a.server.Serve(a.ln)
	cancel()
	if asked := asking.Wait(); asked != nil {
		a.log.Warn("task store was not closed well", "error", asked)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin endpoint: %w", err)
	}
	return nil
}

func (a *admin) close() {
	if a.ln != nil {
		_ = a.server.Close()
	}
}

// ask asks the master, whose answer also says that it is alive.
func (a *admin) ask(r *http.Request) (prefork.Status, error) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	return a.master.Status(ctx)
}

// healthz says that the master goes round.
func (a *admin) healthz(w http.ResponseWriter, r *http.Request) {
	if _, err := a.ask(r); err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"status": "no answer from the master"})
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether traffic should be sent here: at least one process of
// every role does its work, and tasks can be taken. A queue that cannot be served
// while others are is a warning.
func (a *admin) readyz(w http.ResponseWriter, r *http.Request) {
	s, err := a.ask(r)
	if err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reasons": []string{"no answer from the master"}})
		return
	}
	reasons := notReady(s.Slots)
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	if err := a.queues.Trouble(ctx); err != nil {
		reasons = append(reasons, "tasks cannot be taken: "+err.Error())
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

// notReady lists the roles of which no slot is live, with what their slots do.
func notReady(slots []prefork.SlotStatus) (reasons []string) {
	live := map[string]bool{roleStore: true} // its users go on without it
	for _, s := range slots {
		live[s.Role] = live[s.Role] || s.State == prefork.StateLive
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

func (a *admin) status(w http.ResponseWriter, r *http.Request) {
	s, err := a.ask(r)
	if err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"reason": "no answer from the master"})
		return
	}
	reply(w, http.StatusOK, statusAnswer{a.version, os.Getpid(), s.ReloadFailed, s.Slots})
}

// metrics is GET /metrics, in the format that whoever asks prefers.
func (a *admin) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	families, err := a.collector.Gather(ctx)
	if families == nil && err != nil {
		reply(w, http.StatusServiceUnavailable, map[string]string{"reason": "no answer from the master"})
		return
	}
	if err != nil {
		a.log.Warn("metrics of a child cannot be read", "error", err)
	}
	gathered := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
	promhttp.HandlerFor(gathered, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// reply writes JSON; a client that is gone cannot be told so.
func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
