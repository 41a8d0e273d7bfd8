package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/session"
	"github.com/galeserver/gale/server/static"
	"github.com/galeserver/gale/server/templates"
	"github.com/galeserver/gale/uploads"
)

// Services give handlers access to tasks, files, channels and the other parts of the
// server. Each process has one Services, which is safe for concurrent use. In a worker
// some fields are nil, as noted.
type Services struct {
	// Tasks starts tasks and reads their state.
	Tasks *jobs.Client
	// Uploads opens, lists and removes uploaded files.
	Uploads Uploads
	// Channels publishes messages to the subscribers of all processes and machines.
	// In "server worker" without -redis its errors wrap ErrNoSharedState.
	Channels *realtime.Bus
	// Cache is shared by all processes and machines. "server worker" without -redis
	// computes each value anew.
	Cache *cache.Cache
	// Pool runs the blocking work of handlers; its size is set by -pool and
	// -pool-queue.
	Pool Pool
	// Hub manages the WebSockets of this process. Nil in a worker.
	Hub *realtime.Hub
	// Sessions gives access to the sessions of clients. Nil in a worker, and without
	// Application.Sessions.
	Sessions *session.Sessions
	// Templates renders pages. Nil in a worker, and without Application.Templates and
	// -templates.
	Templates *templates.Set
	// Metrics registers metrics of the application. The admin endpoint serves them as
	// sums over all processes.
	Metrics prometheus.Registerer
	// Data is the path of a folder for the application's own files, inside -data.
	Data string
	// MaxBody is the value of -max-body: the largest request body, in bytes.
	MaxBody int64
	// Log is the logger of this process.
	Log *slog.Logger
	// Leaving is closed when the process begins to drain. Handlers that only wait
	// should then return.
	Leaving <-chan struct{}

	redis  redis.UniversalClient
	limits *limit.Counters
	keys   func() (*cookie.Keys, error) // that sign cookies
	faults []error                      // of methods that return none
	static *static.Folder               // nil in a worker, and without -static

	staticBase string    // path of static files, with a slash at its end
	noStatic   sync.Once // logs that -static is not set
}

// Uploads gives access to uploaded files. Its errors wrap uploads.ErrName if a name is
// not valid, and fs.ErrNotExist if there is no such file.
type Uploads interface {
	// Open opens a file for reading.
	Open(directory, filename string) (io.ReadSeekCloser, error)
	// Remove removes a file.
	Remove(ctx context.Context, directory, filename string) error
	// List returns up to limit entries whose names sort after the name after. If more
	// entries follow, next is the value of after for the next call; else it is empty.
	List(ctx context.Context, directory, after string, limit int) (entries []uploads.Entry, next string, err error)
}

// Pool runs blocking functions, a limited number at a time.
type Pool interface {
	// Do runs fn in the pool and returns its error. If pool and queue are full, Do
	// returns pool.ErrFull without calling fn; the client then gets a 503 response.
	Do(ctx context.Context, fn func(context.Context) error) error
}

// Limit returns a rate limiter that counts over all processes and machines. Limiters
// with the same name share their counts. In "server worker"
// without -redis its errors wrap ErrNoSharedState.
func (s *Services) Limit(o limit.Options) *limit.Limiter {
	if o.Counters == nil {
		o.Counters = s.limits
	}
	return limit.New(s.redis, o)
}

// servicesKey is the context key of the services of a worker.
type servicesKey struct{}

// From returns the services of the worker that runs a task. ctx is the context of the
// task's handler. From returns nil for any other context.
func From(ctx context.Context) *Services {
	s, _ := ctx.Value(servicesKey{}).(*Services)
	return s
}

// attach returns a copy of tasks whose handlers find the services with From. Those that
// check a file in quarantine also open such files.
func (s *Services) attach(tasks []jobs.Definition, files *uploads.Store) []jobs.Definition {
	all := make([]jobs.Definition, len(tasks))
	for i, d := range tasks {
		handle := d.Handler
		if handle != nil {
			d.Handler = func(ctx context.Context, job *jobs.Job) error {
				own := s
				if routes.ChecksQuarantine(d.Name, job.ID) {
					own = s.inspecting(files)
				}
				return handle(context.WithValue(ctx, servicesKey{}, own), job)
			}
		}
		all[i] = d
	}
	return all
}

// inspecting returns the services of a worker for a task that also opens files in quarantine.
func (s *Services) inspecting(files *uploads.Store) *Services {
	return &Services{
		Tasks: s.Tasks, Uploads: quarantinedFiles{uploadedFiles{files}}, Channels: s.Channels, Cache: s.Cache, Pool: s.Pool,
		Metrics: s.Metrics, Data: s.Data, MaxBody: s.MaxBody, Log: s.Log, Leaving: s.Leaving, redis: s.redis, limits: s.limits, keys: s.keys,
	}
}

// openServices returns the services that serving processes and workers have in common.
// The caller closes its Redis client.
func openServices(ctx context.Context, c config.Config, s *state, counters metrics.Sources, r prometheus.Registerer, log *slog.Logger) (*Services, error) {
	data := dataFolder(c)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	common, err := openShared(c, counters.Realtime, log)
	if err != nil {
		return nil, err
	}
	services := &Services{Uploads: uploadedFiles{s.uploads}, Metrics: r, Data: data, MaxBody: c.MaxBody, Log: log, Leaving: ctx.Done(), keys: cookieKeys(c)}
	services.share(common, counters)
	return services, nil
}

// share sets the fields that use the shared state.
func (s *Services) share(common shared, counters metrics.Sources) {
	s.Channels = common.bus
	s.Cache = cache.New(common.redis, cache.Options{Counters: counters.Cache})
	s.redis, s.limits = common.redis, counters.Limit
}

// dataFolder returns the path of the application's own folder.
func dataFolder(c config.Config) string { return filepath.Join(c.Data, "app") }

// uploadedFiles implements Uploads on the file store.
type uploadedFiles struct{ *uploads.Store }

// Open implements Uploads.
func (u uploadedFiles) Open(directory, filename string) (io.ReadSeekCloser, error) {
	return u.Store.Open(directory, filename)
}

// quarantinedFiles implements Uploads on the file store, for the task of -quarantine.
type quarantinedFiles struct{ uploadedFiles }

// Open implements Uploads.
func (u quarantinedFiles) Open(directory, filename string) (io.ReadSeekCloser, error) {
	return u.OpenQuarantined(directory, filename)
}
