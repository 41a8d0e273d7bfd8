package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/session"
	"github.com/galeserver/gale/uploads"
)

// Services are what an application works with: one of each for a process. They
// are safe for concurrent use.
type Services struct {
	// Tasks accepts tasks.
	Tasks *jobs.Client
	// Uploads are the stored files.
	Uploads Uploads
	// Channels carry messages between all processes and machines. In a worker of its
	// own without -redis their errors wrap ErrNoSharedState.
	Channels *realtime.Bus
	// Cache keeps values for all processes and machines. Without -redis, a worker of
	// its own computes each value anew.
	Cache *cache.Cache
	// Pool is where handlers do work that blocks.
	Pool Pool
	// Hub holds WebSockets. Nil in a worker.
	Hub *realtime.Hub
	// Sessions are those of the clients. Nil in a worker, and without
	// Application.Sessions.
	Sessions *session.Sessions
	// Metrics are merged over all processes and served by the admin endpoint.
	Metrics prometheus.Registerer
	// Data is a folder of the application's own, inside -data.
	Data string
	// MaxBody is -max-body: the limit of a request's body, in bytes.
	MaxBody int64
	Log     *slog.Logger
	// Leaving is closed when the process is to leave: what only waits ends then.
	Leaving <-chan struct{}

	redis  redis.UniversalClient
	limits *limit.Counters
	keys   func() (*cookie.Keys, error) // that sign cookies
	faults []error                      // of methods that return none
}

// Uploads are the stored files. A name that no file can have is an error wrapping
// uploads.ErrName, a file that is not there one wrapping fs.ErrNotExist.
type Uploads interface {
	Open(directory, filename string) (io.ReadSeekCloser, error)
	Remove(ctx context.Context, directory, filename string) error
	// List returns at most limit entries behind the name after, and the name behind
	// which the rest follows, if there is any.
	List(ctx context.Context, directory, after string, limit int) (entries []uploads.Entry, next string, err error)
}

// Pool runs functions that block, a limited number of them at once. Do returns
// what fn returns, or pool.ErrFull without calling it: 503 for the client.
type Pool interface {
	Do(ctx context.Context, fn func(context.Context) error) error
}

// Limit makes a limiter that counts over all processes and machines. Limiters of
// the same name share their counts. In a worker of its own without -redis, Take
// returns an error that wraps ErrNoSharedState.
func (s *Services) Limit(o limit.Options) *limit.Limiter {
	if o.Counters == nil {
		o.Counters = s.limits
	}
	return limit.New(s.redis, o)
}

// servicesKey is where a task's context holds the services.
type servicesKey struct{}

// From returns the services of the worker that runs a task, by the context of its
// handler; nil outside of one.
func From(ctx context.Context) *Services {
	s, _ := ctx.Value(servicesKey{}).(*Services)
	return s
}

// reaching returns the tasks with the services in the contexts of their handlers.
func (s *Services) reaching(tasks []jobs.Definition) []jobs.Definition {
	all := make([]jobs.Definition, len(tasks))
	for i, d := range tasks {
		handle := d.Handler
		if handle != nil {
			d.Handler = func(ctx context.Context, job *jobs.Job) error {
				return handle(context.WithValue(ctx, servicesKey{}, s), job)
			}
		}
		all[i] = d
	}
	return all
}

// openServices makes what serving processes and workers have. Its client of Redis is the
// caller's to close.
func openServices(ctx context.Context, c config.Config, s *state, counted metrics.Sources, r prometheus.Registerer, log *slog.Logger) (*Services, error) {
	data := dataFolder(c)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	common, err := openShared(c, counted.Realtime, log)
	if err != nil {
		return nil, err
	}
	services := &Services{Uploads: uploadedFiles{s.uploads}, Metrics: r, Data: data, MaxBody: c.MaxBody, Log: log, Leaving: ctx.Done(), keys: cookieKeys(c)}
	services.share(common, counted)
	return services, nil
}

// share adds what works on the shared state.
func (s *Services) share(common shared, counted metrics.Sources) {
	s.Channels = common.bus
	s.Cache = cache.New(common.redis, cache.Options{Counters: counted.Cache})
	s.redis, s.limits = common.redis, counted.Limit
}

// dataFolder is the application's own.
func dataFolder(c config.Config) string { return filepath.Join(c.Data, "app") }

// uploadedFiles are the files of a store.
type uploadedFiles struct{ *uploads.Store }

// Open implements Uploads.
func (u uploadedFiles) Open(directory, filename string) (io.ReadSeekCloser, error) {
	return u.Store.Open(directory, filename)
}
