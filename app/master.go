package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/history"
	"github.com/galeserver/gale/app/internal/logtail"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/internal/redisdb"
	"github.com/galeserver/gale/prefork"
)

// Roles of slots.
const (
	roleServe  = "serve"
	roleWorker = "worker"
	roleStore  = "store"
)

// runMaster runs the command "serve" or "worker": it supervises the slots until ctx is
// done or a signal ends it.
func runMaster(ctx context.Context, command config.Command, e env) error {
	c, err := configure(command, e)
	if err != nil {
		return err
	}
	if c.Single {
		return runSingle(ctx, e, c)
	}
	runtime.GOMAXPROCS(1) // one loop does the work of a master; idle, it wakes fewer threads
	output := &tailWriter{out: e.stderr}
	log := newLogger(c, output)
	redisdb.SetLogger(log)
	if command == config.Serve && (c.Redis == "" || c.Store.Address != "") { // a reload passes on an address of the embedded state server
		release, err := reserveStateServer(&c, &e)
		if err != nil {
			return err
		}
		defer release() //nolint:errcheck // the process ends with it
	}
	h := newHistory(command, c, log)
	m, err := newMaster(command, c, e, h, log)
	if err != nil {
		return err
	}
	tail := logtail.New(m.SharedMemory())
	output.keep(tail)
	if !m.Resumed() {
		if err := checkTasks(c); err != nil {
			return err
		}
	}
	if (command == config.Worker || c.Workers > 0) && !m.Resumed() {
		if err := checkPlace(ctx, e.app, c, log); err != nil {
			return err
		}
	}
	addr, err := m.Listen() // during a trial start, the address of the running master
	if err != nil {
		return err
	}
	if err := c.CheckListener(addr); err != nil {
		return err
	}
	if trial, err := m.Trial(); trial {
		return err
	}
	if h != nil {
		h.Restore(m.AppState())
	}
	admin, err := listenAdmin(ctx, c, m, version(e.app), diagnosticsSource{e, command, func() config.Config { return c }, tail}, h, log)
	if err != nil {
		return err
	}
	defer admin.close()
	if addr != nil {
		log.Info("listening", "addr", addr.String(), "url", c.Scheme()+"://"+addr.String(), "serve_slots", c.Procs, "worker_slots", c.Workers)
	}
	return supervise(ctx, m, admin, watchServer(c, m.Program(), log))
}

// supervise runs the master, its admin endpoint and the watcher of its files until the
// master ends. It runs on the goroutine of its caller, which is locked to the main thread,
// because the master must.
func supervise(ctx context.Context, m *prefork.Master, a *admin, watch runFunc) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var others errgroup.Group
	others.Go(func() error { // ends with a.close
		err := a.serve()
		if err != nil {
			cancel(err)
		}
		return err
	})
	others.Go(func() error { return watch(ctx) }) // ends with ctx
	err := m.Run(ctx)
	cancel(nil)
	a.close()
	return cmp.Or(err, others.Wait())
}

// configure returns the configuration of a master. After a reload, it is the one that
// the previous master has tested; otherwise it is read from arguments, environment and
// files. For serve, configure also fails if the table of routes cannot be built.
func configure(command config.Command, e env) (c config.Config, err error) {
	if tested := prefork.TestedConfig(e.environ); tested != nil {
		if err = json.Unmarshal(tested, &c); err == nil {
			err = e.program.Apply(c.Own)
		}
	} else {
		c, err = config.Load(command, e.program, e.args, e.environ)
	}
	if err == nil && command == config.Serve {
		err = checkRoutes(e.app, c)
	}
	return c, err
}

// newMaster returns a master with the slots of the configuration. A reload hands the history
// over.
func newMaster(command config.Command, c config.Config, e env, h *history.History, log *slog.Logger) (*prefork.Master, error) {
	if command == config.Worker {
		c.Workers = 0 // of a serving master
	}
	settings, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	o := prefork.Options{
		Command:      e.command,
		Program:      e.app.command(),
		Address:      c.Address(),
		Config:       settings,
		ConfigFor:    configFor,
		Environ:      e.environ,
		EnvironFor:   environFor,
		Grace:        c.Grace,
		BootTimeout:  c.BootTimeout,
		HangTimeout:  negativeIfOff(c.HangTimeout),
		MaxRequests:  c.MaxRequests,
		MaxRSS:       c.MaxRSS,
		MergeReports: metrics.Merge,
		SharedMemory: logtail.Size,
		Logger:       log,
	}
	if h != nil {
		o.AppState = h.Handover
	}
	if command == config.Worker {
		o.Roles = []prefork.Role{{Name: roleWorker, Slots: c.Procs}}
	} else {
		o.Roles = []prefork.Role{{Name: roleServe, Slots: c.Procs, Listens: true}, {Name: roleWorker, Slots: c.Workers}}
		if c.Store.Address != "" {
			o.Roles = append(o.Roles, prefork.Role{Name: roleStore, Slots: 1, KeepOnReload: true})
		}
	}
	o.Roles = append(o.Roles, programRoles(command, c)...)
	return prefork.New(o)
}

// configFor returns the configuration for the children of a role. The embedded state
// server gets no secrets of other roles. For a worker program that the tasks file no longer
// has, configFor returns nil. Settings that cannot be decoded, as after an update of the
// binary, are passed on unchanged: the child refuses them.
func configFor(role string, settings []byte) []byte {
	var c config.Config
	if role == roleServe || role == roleWorker || json.Unmarshal(settings, &c) != nil {
		return settings
	}
	if role != roleStore {
		if _, ok := programOf(c, role); !ok {
			return nil
		}
		return settings
	}
	reduced, err := json.Marshal(c.ForStateServer())
	if err != nil {
		return settings
	}
	return reduced
}

// environFor keeps the variables of Gale's flags, such as GALE_TOKEN, from the embedded
// state server. Children have the configuration, and do not read them.
func environFor(role string, environ []string) []string {
	if role != roleStore {
		return environ
	}
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, "GALE_") })
}

// negativeIfOff converts a timeout that is off from a flag's 0 to prefork's -1.
func negativeIfOff(timeout time.Duration) time.Duration {
	if timeout == 0 {
		return -1
	}
	return timeout
}
