package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/console"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/app/internal/watch"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
	"github.com/galeserver/gale/jobs/workerapi"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
	"github.com/galeserver/gale/uploads/tus"
)

// uploadQueue is the number of upload chunks that may wait for the disk in one process.
// An upload waits with one chunk at a time, so this is also the number of concurrent
// uploads. Further uploads get a 503 response.
const uploadQueue = 10_000

// serve runs a serve slot. When ctx is done, it drains: it finishes the requests in
// flight and accepts no connections.
func serve(ctx context.Context, child process, a Application, c config.Config, log *slog.Logger) (err error) {
	uploadPool := pool.New(pool.Options{Workers: c.UploadPool, Queue: uploadQueue})
	blocking := pool.New(pool.Options{Workers: c.Pool, Queue: cmp.Or(c.PoolQueue, -1)}) // -pool-queue 0 is no queue; pool's 0 is its default
	counters := newCounters(c, map[string]*pool.Pool{"handlers": blocking, "uploads": uploadPool}, waitingReader(child.Slot(), c))
	figures, traces, stop := observe(ctx, child, a, c, counters, log)
	defer stop() // runs last, with the final counts
	decisions := newDecider(&a, c, blocking, counters.Uploads.Refused, log)
	starter := &routes.UploadStarter{OnUpload: c.OnUpload, Quarantine: c.Quarantine, Deferred: counters.Uploads.TaskDeferred, Logger: log}
	s, err := openState(ctx, c, uploadOptions(c, starter, decisions, uploadPool, counters.Uploads, log), counters.Tasks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	tasks, err := registry(a.tasks(), commands(c, s))
	if err != nil {
		return err
	}
	services, err := openServices(ctx, c, s, counters, figures, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, services.redis.Close()) }()
	if err := a.sessionsFor(services); err != nil {
		return err
	}
	starter.Tasks, starter.Client = uploadTasks(a, c.Commands), &jobs.Client{Store: s.store, Tasks: tasks, Meter: counters.Tasks}
	origins, err := server.ParseOrigins(c.Origins)
	if err != nil {
		return err
	}
	d := routes.Deps{
		Workers: newWorkers(c, s, starter.Client, counters.Tasks, traces.Provider(), log), Tasks: tasks, Client: starter.Client, UploadStarter: starter,
		Hub: newHub(c, counters.Realtime, log), Guard: newGuard(c, a, origins, services), Leaving: ctx, Logger: log,
	}
	defer context.AfterFunc(ctx, d.Workers.Drain)()
	if err := addDeps(&d, a, c, s, services); err != nil {
		return err
	}
	closeStatic, err := a.openPages(c, &d, services)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStatic()) }()
	if d.Resumable, err = newResumable(a, c, s, services, d.Events, starter, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Resumable.Close()) }()
	services.Tasks, services.Hub, services.Pool = d.Client, d.Hub, blocking
	decisions.use(services)
	all, err := a.allRoutes(d, services)
	if err != nil {
		return err
	}
	srv, err := newServer(c, a, origins, all, requestMeter{child.Counters(), metrics.Requests{Tally: child.AppCounters()}, counters.Refused}, traces.Provider(), log)
	if err != nil {
		return err
	}
	awaitStateServer(ctx, c.Store.Address)
	err = runServer(ctx, child, log, srv, d, []runFunc{readWaiting(counters.Waiting, s.store), s.runFiles, a.background(services), watchStatic(c, d.Reloads, log), announcePlace(c, child.Owner()+"/"+rand.Text(), log)}, []*pool.Pool{blocking, uploadPool})
	logUploads(log, counters.Uploads.Stats())
	return err
}

// addDeps sets the fields of d that come from the configuration, the state and the services.
func addDeps(d *routes.Deps, a Application, c config.Config, s *state, services *Services) (err error) {
	d.Store, d.Artifacts, d.Uploads = s.store, s.artifacts, s.uploads
	d.UploadTypes, d.MaxUpload, d.FilesRedirect = c.UploadTypes, c.MaxUpload, c.FilesRedirect
	d.Sockets = uploadsocket.New(s.uploads, uploadsocket.Options{Grace: drainTime(c.Grace), Logger: d.Logger})
	d.Redis, d.Bus, d.Events = services.redis, services.Channels, routes.NewUploadEvents(services.Channels, d.Logger)
	d.UploadAdmit = uploadAdmit(&a, c, d.Guard)
	d.Console = newConsole(c, !slices.Contains(a.Platform.Off, routes.DescriptionGroup), s.store, d.Logger)
	d.Watches = watch.New(d.Client, d.Logger)
	d.Schedules, err = schedules(a, c)
	return err
}

// newResumable returns the server of resumable uploads.
func newResumable(a Application, c config.Config, s *state, services *Services, events *routes.UploadEvents, starter *routes.UploadStarter, log *slog.Logger) (*tus.Server, error) {
	return tus.New(s.uploads, tus.Options{
		Place: s.resumable(services.redis), Base: a.Platform.Prefix + tus.DefaultBase, MaxUnfinished: c.MaxUnfinished, Expiry: c.UploadExpiry,
		Stored: routes.Stored(events, starter), Progress: events.Offset, Logger: log,
	})
}

// workerMeter counts the attempts of workers of other programs.
type workerMeter interface {
	meter.Meter
	meter.Stopwatch
}

// newWorkers returns the worker protocol, and makes client accept the tasks that workers have
// announced.
func newWorkers(c config.Config, s *state, client *jobs.Client, m workerMeter, traces trace.TracerProvider, log *slog.Logger) *workerapi.Service {
	workers := workerapi.New(s.store, client, workerapi.Options{
		Artifacts: s.artifacts, MaxArtifact: c.MaxUpload, DecodeTask: routes.DecodeTask, Meter: m, Stopwatch: m, Logger: log, TracerProvider: traces,
	})
	client.Announced = workers.Directory()
	return workers
}

// uploadOptions returns the options of the file store in a serving process.
func uploadOptions(c config.Config, starter *routes.UploadStarter, decisions *decider, p *pool.Pool, m uploads.Meter, log *slog.Logger) uploads.Options {
	o := uploads.Options{
		Stored: starter.Stored, StoredFilter: starter.Wanted,
		MaxFile: c.MaxUpload, MaxHead: c.MaxHead, MaxParts: c.MaxParts, MaxFiles: c.MaxFiles, MaxField: c.MaxField,
		Pool: p, Meter: m, Logger: log,
	}
	if decisions != nil {
		o.Decide = decisions.decide
	}
	if c.Quarantine != "" {
		o.Quarantine = starter.Inspect
	}
	return o
}

// newCounters returns the counters of a serving process.
func newCounters(c config.Config, pools map[string]*pool.Pool, waiting *metrics.Waiting) metrics.Sources {
	return metrics.Sources{
		Traces: traceCounters(c),
		Pools:  pools, Uploads: metrics.NewUploads(), Tasks: metrics.NewTasks(), Realtime: new(realtime.Counters),
		Refused: new(metrics.Refused), Limit: new(limit.Counters), Cache: new(cache.Counters), Waiting: waiting,
	}
}

// runServer serves requests until ctx is done and the requests in flight have finished.
// The pools, the bus and the watches end after them, because requests use them. own are
// background work of the file store and of the application, and the watcher of static files.
func runServer(ctx context.Context, child process, log *slog.Logger, srv *server.Server, d routes.Deps, own []runFunc, pools []*pool.Pool) error {
	ln, err := child.Listener()
	if err != nil {
		return err
	}
	upper := []runFunc{
		func(ctx context.Context) error { return srv.Run(ctx, ln) },
		d.Sockets.Run, d.Hub.Run, d.Resumable.Run, d.Console.Run,
	}
	upper = append(upper, own...)
	lower := []runFunc{d.Bus.Run, d.Events.Run, d.Watches.Run, d.Workers.Run}
	for _, p := range pools {
		lower = append(lower, p.Run)
	}
	// Close writes the received part of interrupted uploads to disk.
	return runLayers(ctx, upper, lower, func() { notifyReady(child, log) }, d.Resumable.Close)
}

// logUploads logs the upload totals of a process that has received uploads.
func logUploads(log *slog.Logger, s uploads.Stats) {
	if s.Duration > 0 {
		log.Info("upload totals", "bytes", s.Bytes, "files_by_code", s.Files, "duration_ms", s.Duration.Milliseconds())
	}
}

// newConsole returns the console, which reads the master's status from the admin
// endpoint. If description is true, it links the OpenAPI document.
func newConsole(c config.Config, description bool, store driver.Store, log *slog.Logger) *console.Console {
	o := console.Options{Login: c.Token != "", Description: description, TraceLink: c.TraceLink, Logger: log}
	if c.Admin != "" {
		client := adminClient(c.Admin) // keeps its connection while pages are open
		o.GetAdmin = func(ctx context.Context, page string) (int, []byte, error) {
			return sendAdmin(ctx, client, http.MethodGet, c.Admin, page, "", nil)
		}
	}
	return console.New(store, o)
}

// newServer returns the HTTP server of all routes.
func newServer(c config.Config, a Application, origins server.Origins, all []server.Route, m server.Meter, traces trace.TracerProvider, log *slog.Logger) (*server.Server, error) {
	secure, err := tlsConfig(c)
	if err != nil {
		return nil, err
	}
	return server.New(server.Options{
		Logger: log, MaxBody: c.MaxBody, MaxHeader: int(c.MaxHead), Grace: drainTime(c.Grace), Errors: routes.Statuses, Meter: m, TracerProvider: traces,
		MaxConns: c.MaxConns, MaxConnsPerClient: c.MaxPerClient, TrustedProxies: c.Proxies,
		TLS: secure, AccessLog: c.AccessLog, SlowRequest: c.SlowRequest, Origins: origins, BasePath: c.BasePath,
		Header: a.Header, Compress: compression(c),
		RequestFields:  slices.Concat(routes.TusRequestFields, c.CORSHeaders),
		ResponseFields: slices.Concat(routes.TusResponseFields, c.CORSHeaders),
	}, all)
}

// codings are the content codings of -compress. Of those that a client accepts alike, the
// first one is used: zstd costs the least CPU time for responses of a few KiB.
var codings = []string{"zstd", "br", "gzip"}

// compression returns the options of the server for -compress.
func compression(c config.Config) server.Compression {
	if !c.Compress {
		return server.Compression{}
	}
	return server.Compression{Codings: codings, Level: c.CompressLevel}
}

// newGuard makes the access control of all routes.
func newGuard(c config.Config, a Application, origins server.Origins, s *Services) *access.Guard {
	return access.New(access.Options{
		Token: c.Token, Origins: origins, HTTPS: c.TLSCert != "", Authenticate: a.Authenticate, Session: readSession(s.Sessions), Logger: s.Log,
	})
}

// newHub makes the hub of WebSockets and event streams.
func newHub(c config.Config, m realtime.Meter, log *slog.Logger) *realtime.Hub {
	return realtime.New(realtime.Options{Grace: drainTime(c.Grace), SendTimeout: c.WSSendTimeout, Compress: c.WSCompress, Meter: m, Logger: log})
}

// tlsConfig loads the certificate, or returns nil without -tls-cert. Each child calls it
// when it starts, so a reload picks up a renewed certificate.
func tlsConfig(c config.Config) (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
}

// requestMeter counts connections and requests on the slot's page of the scoreboard, and
// refused requests, which are rare, in the registry of the process.
type requestMeter struct {
	lane     *prefork.Counters
	requests metrics.Requests
	*metrics.Refused
}

func (m requestMeter) ConnOpened() { m.lane.Connections.Add(1) }
func (m requestMeter) ConnClosed() { m.lane.Connections.Add(-1) }
func (m requestMeter) RequestDone(method string, status int, took time.Duration) {
	m.lane.Requests.Add(1)
	m.requests.Count(method, status, took)
}
