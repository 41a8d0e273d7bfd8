package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	ps "github.com/galeserver/gale/app/internal/process"
	"github.com/galeserver/gale/app/internal/program"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/workerapi"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/uploads"
)

// programRoles returns the roles of the worker programs of the tasks file. Each slot is a
// process that runs one program. A server without workers has none of them.
func programRoles(command config.Command, c config.Config) (roles []prefork.Role) {
	if command == config.Serve && c.Workers == 0 {
		return nil
	}
	for _, p := range c.Programs {
		role := prefork.Role{Name: p.Name, Slots: p.Slots, Optional: true, MaxRequests: p.MaxTasks, MaxRSS: p.MaxRSS}
		if p.MaxTasks == 0 {
			role.MaxRequests = -1 // -max-requests is not for programs
		}
		roles = append(roles, role)
	}
	return roles
}

// programOf returns the worker program that runs in the slots of a role.
func programOf(c config.Config, role string) (p program.Spec, ok bool) {
	i := slices.IndexFunc(c.Programs, func(p program.Spec) bool { return p.Name == role })
	if i < 0 {
		return p, false
	}
	return c.Programs[i], true
}

// runProgram runs a slot of a worker program: it serves the worker protocol on a Unix socket
// to the program that it starts. When ctx is done, waiting requests are responded to at
// once, the program gets SIGTERM, and the socket is served until the program has ended.
func runProgram(ctx context.Context, child process, a Application, c config.Config, log *slog.Logger) (err error) {
	role, _, _ := strings.Cut(child.Slot(), ".")
	spec, ok := programOf(c, role)
	if !ok {
		return fmt.Errorf("no worker program %q in the tasks file", role)
	}
	alone := !c.Single
	if alone {
		if err := ps.AdoptOrphans(); err != nil {
			return err
		}
	}
	counters := metrics.Sources{
		Tasks: metrics.NewTasks(), Program: &metrics.Program{Memory: &child.Counters().ProgramMemory}, Traces: traceCounters(c),
	}
	_, traces, stop := observe(ctx, child, a, c, counters, log)
	defer stop() // runs last, with the final counts
	s, err := openState(ctx, c, uploads.Options{MaxFile: c.MaxUpload, Logger: log}, counters.Tasks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	sweepPrograms(ctx, c, s, log)
	place, err := newProgramPlace(c, child.Slot())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.remove()) }()
	workers, protocol, err := newProgramServer(ctx, a, c, s, taskMeter{counters.Tasks, child.Counters()}, place, traces.Provider(), log)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, workers.Drain)()
	o := program.Options{
		Slot: child.Slot(), URL: place.url(), Path: c.Path, Grace: graceOf(spec, c), BootTimeout: drainTime(c.BootTimeout),
		Announced: place.announced, Ready: func() { notifyReady(child, log) }, Alone: alone,
		Memory: counters.Program.Memory, DroppedLines: &counters.Program.DroppedLines, Logger: log,
	}
	run := func(ctx context.Context) error {
		err := program.Run(ctx, spec, o)
		place.endSessions(workers, ctx.Err() == nil, log)
		return err
	}
	return runLayers(ctx, []runFunc{run}, protocol, func() {}, func() error { return nil })
}

// graceOf returns the time between TERM and KILL of a program. It is shorter than -grace,
// after which the master kills this process.
func graceOf(spec program.Spec, c config.Config) time.Duration {
	if spec.Grace > 0 {
		return min(spec.Grace, drainTime(c.Grace))
	}
	return drainTime(c.Grace)
}

// taskMeter counts the attempts of a worker program in the metrics, and those that have ended
// also for max_tasks.
type taskMeter struct {
	*metrics.Tasks
	slot *prefork.Counters
}

// Count implements meter.Meter.
func (m taskMeter) Count(e meter.Event, task, queue string) {
	m.Tasks.Count(e, task, queue)
	switch e {
	case meter.EventSucceeded, meter.EventFailed, meter.EventRetried, meter.EventDead:
		m.slot.Requests.Add(1)
	}
}

// newProgramServer returns the worker protocol for a program, and the functions that serve
// its routes.
func newProgramServer(ctx context.Context, a Application, c config.Config, s *state, m taskMeter, place *programPlace, traces trace.TracerProvider, log *slog.Logger) (*workerapi.Service, []runFunc, error) {
	tasks, err := registry(a.tasks(), commands(c, s))
	if err != nil {
		return nil, nil, err
	}
	common, err := openShared(c, new(realtime.Counters), log)
	if err != nil {
		return nil, nil, err
	}
	client := &jobs.Client{Store: s.store, Tasks: tasks, Meter: m}
	workers := newWorkers(c, s, client, m, traces, log)
	d := routes.Deps{
		Workers: workers, Tasks: tasks, Client: client, Store: s.store, Artifacts: s.artifacts, Uploads: s.uploads, MaxUpload: c.MaxUpload, FilesRedirect: c.FilesRedirect,
		Bus: common.bus, Guard: access.New(access.Options{Logger: log}), Leaving: ctx, Logger: log,
	}
	srv, err := server.New(server.Options{
		Logger: log, MaxBody: c.MaxBody, MaxHeader: int(c.MaxHead), Grace: drainTime(c.Grace), Errors: routes.Statuses, TracerProvider: traces,
	}, routes.ForProgram(d, place.announce))
	if err != nil {
		return nil, nil, errors.Join(err, common.redis.Close())
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", place.socket)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for the program: %w", err), common.redis.Close())
	}
	serve := func(ctx context.Context) error { return errors.Join(srv.Run(ctx, ln), common.redis.Close()) }
	lower := []runFunc{serve, workers.Run}
	if c.Redis != "" { // without it there is no channel to publish to
		lower = append(lower, common.bus.Run)
	}
	return workers, lower, nil
}

// Files in the folder of a program.
const (
	programURLFile      = "url"      // GALE_URL of the program
	programSessionsFile = "sessions" // the sessions of the program, a line each
	programFolderPrefix = "gale-worker-"
)

// maxSocketPath is the longest path of a Unix socket that all clients can connect to
// (unix(7): sun_path has 108 bytes, with a zero byte at its end).
const maxSocketPath = 107

// programFolders returns the absolute path of the parent of the folders of worker programs.
func programFolders(c config.Config) (string, error) {
	return filepath.Abs(filepath.Join(c.Data, "workers"))
}

// sweepPrograms ends what the programs of killed processes have left, and makes their tasks
// due again. It must come before such a task is started again.
func sweepPrograms(ctx context.Context, c config.Config, s *state, log *slog.Logger) {
	parent, err := programFolders(c)
	if err == nil {
		_, err = os.Stat(parent)
	}
	if errors.Is(err, os.ErrNotExist) {
		return // no program has run yet
	}
	if err == nil {
		workers := workerapi.New(s.store, nil, workerapi.Options{Logger: log})
		err = ps.Sweep(parent, programFolderPrefix, func(path string) error { return sweepProgram(ctx, path, workers, log) })
	}
	if err != nil {
		log.Warn("cannot end what a killed process of a worker program has left", "error", err)
	}
}

// sweepProgram ends what the program has left that had a folder.
func sweepProgram(ctx context.Context, path string, workers *workerapi.Service, log *slog.Logger) error {
	url, _ := os.ReadFile(filepath.Join(path, programURLFile)) // missing: the process was killed before it started the program
	if len(url) == 0 {
		return nil
	}
	err := ps.KillAll("GALE_URL=" + string(url))
	sessions, _ := os.ReadFile(filepath.Join(path, programSessionsFile)) // missing: the program had none
	for id := range strings.FieldsSeq(string(sessions)) {
		n, errEnd := workers.End(ctx, id, true)
		if err = errors.Join(err, errEnd); n > 0 {
			log.Info("tasks of a killed program are due again", "tasks", n)
		}
	}
	if dir := filepath.Dir(strings.TrimPrefix(string(url), "unix:")); dir != path {
		err = errors.Join(err, os.RemoveAll(dir)) // the socket had a folder of its own
	}
	return err
}
