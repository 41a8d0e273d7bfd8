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

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	ps "github.com/galeserver/gale/app/internal/process"
	"github.com/galeserver/gale/app/internal/program"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/server"
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
	counters := newCounters(nil)
	counters.Program = &metrics.Program{Memory: &child.Counters().ProgramMemory}
	figures := metrics.NewRegistry(counters)
	defer startReporting(child, c, figures, log)() // runs last, with the final counts
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
	protocol, err := newProgramServer(ctx, child, a, c, s, counters, place, log)
	if err != nil {
		return err
	}
	o := program.Options{
		Slot: child.Slot(), URL: place.url(), Path: c.Path, Grace: graceOf(spec, c), BootTimeout: drainTime(c.BootTimeout),
		Announced: place.announced, Ready: func() { notifyReady(child, log) }, Alone: alone,
		Memory: counters.Program.Memory, DroppedLines: &counters.Program.DroppedLines, Logger: log,
	}
	run := func(ctx context.Context) error {
		err := program.Run(ctx, spec, o)
		place.endSessions(s, ctx.Err() != nil, log)
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

// newProgramServer returns the functions that serve the routes for a worker program.
func newProgramServer(ctx context.Context, child process, a Application, c config.Config, s *state, counters metrics.Sources, place *programPlace, log *slog.Logger) ([]runFunc, error) {
	tasks, err := registry(a.tasks(), commands(c, s))
	if err != nil {
		return nil, err
	}
	common, err := openShared(c, counters.Realtime, log)
	if err != nil {
		return nil, err
	}
	client := &jobs.Client{Store: s.store, Tasks: tasks, Meter: counters.Tasks}
	d := routes.Deps{
		Tasks: tasks, Client: client, Store: s.store, Artifacts: s.artifacts, Uploads: s.uploads, MaxUpload: c.MaxUpload, FilesRedirect: c.FilesRedirect,
		Bus: common.bus, Guard: access.New(access.Options{Logger: log}), Leaving: ctx, Logger: log,
	}
	srv, err := server.New(server.Options{
		Logger: log, MaxBody: c.MaxBody, MaxHeader: int(c.MaxHead), Grace: drainTime(c.Grace), Errors: routes.Statuses,
	}, routes.ForProgram(d, place.announce))
	if err != nil {
		return nil, errors.Join(err, common.redis.Close())
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", place.socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the program: %w", err), common.redis.Close())
	}
	serve := func(ctx context.Context) error { return errors.Join(srv.Run(ctx, ln), common.redis.Close()) }
	lower := []runFunc{serve}
	if c.Redis != "" { // without it there is no channel to publish to
		lower = append(lower, common.bus.Run)
	}
	return lower, nil
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

// programFolders returns the parent of the folders of worker programs.
func programFolders(c config.Config) string { return filepath.Join(c.Data, "workers") }

// sweepPrograms ends what the programs of killed processes have left, and makes their tasks
// due again. It must come before such a task is started again.
func sweepPrograms(ctx context.Context, c config.Config, s *state, log *slog.Logger) {
	if _, err := os.Stat(programFolders(c)); errors.Is(err, os.ErrNotExist) {
		return
	}
	err := ps.Sweep(programFolders(c), programFolderPrefix, func(path string) error {
		url, _ := os.ReadFile(filepath.Join(path, programURLFile)) // missing: the process was killed before it started the program
		if len(url) == 0 {
			return nil
		}
		err := ps.KillAll("GALE_URL=" + string(url))
		if dir := filepath.Dir(strings.TrimPrefix(string(url), "unix:")); dir != path {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		sessions, _ := os.ReadFile(filepath.Join(path, programSessionsFile)) // missing: the program had none
		for id := range strings.FieldsSeq(string(sessions)) {
			err = errors.Join(err, reclaimSession(ctx, s, id, log))
		}
		return err
	})
	if err != nil {
		log.Warn("cannot end what a killed process of a worker program has left", "error", err)
	}
}
