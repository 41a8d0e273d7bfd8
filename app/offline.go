package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/uploads"
)

// ErrOffline is the error of all methods of Services while Application.Routes only
// builds the table: in the command "check", and in the master before it starts
// processes.
var ErrOffline = errors.New("services are offline while the table of routes is built")

// checkRoutes builds the table of routes as a serving process does, and returns what is
// wrong with it.
func checkRoutes(a Application, c config.Config) error {
	tasks, err := jobs.NewRegistry(a.tasks()...)
	if err != nil {
		return err
	}
	if err := checkQuarantine(a, c); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	services, closeRedis := offlineServices(tasks, c, log)
	defer closeRedis() //nolint:errcheck // the client has no connection
	if err := a.sessionsFor(services); err != nil {
		return err
	}
	if err := a.templatesFor(c, services, nil); err != nil {
		return err
	}
	reloads, err := a.newReloads(c, nil, log)
	if err != nil {
		return err
	}
	all, err := a.allRoutes(routes.Deps{Guard: access.New(access.Options{}), Reloads: reloads, Logger: log}, services)
	if err != nil {
		return err
	}
	if _, err := server.New(server.Options{Header: a.Header}, all); err != nil {
		return config.Faults{err.Error()}
	}
	paths := make([]string, len(all))
	for i, r := range all {
		paths[i] = r.Path
	}
	return c.CheckPaths(paths)
}

// checkQuarantine checks that the task of -quarantine takes a directory and a filename:
// otherwise no file would ever leave the quarantine.
func checkQuarantine(a Application, c config.Config) error {
	if c.Quarantine == "" {
		return nil
	}
	tasks, err := registry(a.tasks(), definitions(c.Commands, command.Env{}))
	if err != nil {
		return err
	}
	client := jobs.Client{Store: offlineStore{}, Tasks: tasks}
	_, _, err = client.Enqueue(context.Background(), jobs.NewTask{Name: c.Quarantine, Args: []byte(`["directory","filename"]`)})
	if errors.Is(err, ErrOffline) {
		return nil
	}
	return config.Faults{fmt.Sprintf("-quarantine: %s cannot be started with a directory and a filename: %v", c.Quarantine, err)}
}

// offlineServices returns services whose methods return ErrOffline.
func offlineServices(tasks *jobs.Registry, c config.Config, log *slog.Logger) (s *Services, closeRedis func() error) {
	away := refuseShared(ErrOffline)
	s = &Services{
		Tasks: &jobs.Client{Store: offlineStore{}, Tasks: tasks}, Uploads: offlineUploads{}, Pool: offlinePool{}, Hub: realtime.New(realtime.Options{}),
		Metrics: prometheus.NewRegistry(), Data: dataFolder(c), MaxBody: c.MaxBody, Log: log, Leaving: make(chan struct{}), keys: offlineKeys,
	}
	s.share(away, metrics.Sources{})
	return s, away.redis.Close
}

// offlineStore is a jobs.Store whose methods return ErrOffline.
type offlineStore struct{}

func (offlineStore) Enqueue(context.Context, jobs.NewTask) (*jobs.Task, bool, error) {
	return nil, false, ErrOffline
}

func (offlineStore) EnqueueGroup(context.Context, jobs.NewGroup) (bool, error) {
	return false, ErrOffline
}

func (offlineStore) Get(context.Context, string) (*jobs.Task, error) { return nil, ErrOffline }

func (offlineStore) Watch(context.Context, string, int64) (*jobs.Task, error) {
	return nil, ErrOffline
}

func (offlineStore) Group(context.Context, string) (*jobs.Group, error) { return nil, ErrOffline }

func (offlineStore) Log(context.Context, string) (string, error) { return "", ErrOffline }

func (offlineStore) List(context.Context, jobs.Query) (*jobs.Page, error) { return nil, ErrOffline }

func (offlineStore) Cancel(context.Context, string) (*jobs.Task, error) { return nil, ErrOffline }

func (offlineStore) CancelWorkflow(context.Context, string) error { return ErrOffline }

func (offlineStore) Requeue(context.Context, string) (*jobs.Task, error) { return nil, ErrOffline }

func (offlineStore) Pause(context.Context, string) error { return ErrOffline }

func (offlineStore) Resume(context.Context, string) error { return ErrOffline }

func (offlineStore) Purge(context.Context, []string, []jobs.State) (int, error) {
	return 0, ErrOffline
}

// offlineUploads implements Uploads; its methods return ErrOffline.
type offlineUploads struct{}

func (offlineUploads) Open(string, string) (io.ReadSeekCloser, error) { return nil, ErrOffline }

func (offlineUploads) Remove(context.Context, string, string) error { return ErrOffline }

func (offlineUploads) List(context.Context, string, string, int) ([]uploads.Entry, string, error) {
	return nil, "", ErrOffline
}

// offlinePool implements Pool; Do returns ErrOffline.
type offlinePool struct{}

func (offlinePool) Do(context.Context, func(context.Context) error) error { return ErrOffline }
