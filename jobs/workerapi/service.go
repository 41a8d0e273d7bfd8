package workerapi

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/meter"
)

// Limits of requests, in bytes unless noted. The worker gets them in the response to
// Announce.
const (
	MaxResult   = 1 << 20         // result of a task
	MaxError    = driver.MaxError // error of an attempt; longer ones are cut
	MaxLog      = driver.MaxLog   // lines in an entry of Log, and the log of a task
	MaxNote     = driver.MaxNote  // note of a progress report
	MaxMeta     = 4 << 10         // meta of a progress report
	MaxBody     = 8 << 20         // body of a request
	MaxEntries  = 1000            // entries of a list, and leases of a session
	MaxWait     = 50 * time.Second
	DefaultWait = 25 * time.Second
)

// TTL is the time from the last Extend that a worker has sent until its leases end. By then
// the worker must have ended the attempts.
const TTL = driver.DefaultLeaseTTL

// Options configure a Service. The zero value is the documented default.
type Options struct {
	// Artifacts stores the files of tasks. Nil: CreateArtifact returns an error.
	Artifacts artifacts.Files
	// MaxArtifact is the largest size of an artifact in bytes. Default: no limit.
	MaxArtifact int64
	// DecodeTask decodes an entry of next in Finish, in the form of POST /tasks. Nil:
	// next is refused.
	DecodeTask func(json.RawMessage) (jobs.NewTask, error)
	Meter      meter.Meter     // default NoMeter
	Stopwatch  meter.Stopwatch // default NoMeter
	Logger     *slog.Logger    // default: no logging
	// TracerProvider makes a span for each attempt when it ends. The worker gets the id of the
	// span before that, in the headers of the task; only the provider of package app uses this
	// id. Nil: no spans.
	TracerProvider trace.TracerProvider
}

// Service serves the worker protocol on a task store. Its methods may be called from many
// goroutines. Make one with New.
type Service struct {
	store   driver.Store
	client  *jobs.Client
	opt     Options
	log     *slog.Logger
	tasks   *Directory
	watch   watch
	reports reports

	leaving context.Context //nolint:containedctx // ends with Drain
	drain   context.CancelFunc

	began time.Time // time of New

	mu    sync.Mutex
	known map[string]*contact // sessions that this process has served lately
}

// New returns a Service. The client, which must have Tasks, completes the tasks that follow
// others. New starts nothing.
func New(store driver.Store, client *jobs.Client, o Options) *Service {
	if o.Meter == nil {
		o.Meter = meter.NoMeter{}
	}
	if o.Stopwatch == nil {
		o.Stopwatch = meter.NoMeter{}
	}
	s := &Service{store: store, client: client, opt: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), known: map[string]*contact{}, began: time.Now()}
	s.leaving, s.drain = context.WithCancel(context.Background())
	s.tasks = NewDirectory(store)
	s.watch = watch{store: store, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}}
	s.reports = reports{last: map[leaseKey]*report{}, added: make(chan struct{}, 1)}
	return s
}

// Run watches the leases of waiting Extend calls, and stores delayed progress reports, until
// ctx ends. It returns nil.
func (s *Service) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { s.watch.run(ctx, s.log) })
	parts.Go(func() { s.flushReports(ctx) })
	parts.Go(func() { s.forget(ctx) })
	parts.Wait()
	return nil
}

// Drain makes all calls that wait return at once, and later calls not wait.
func (s *Service) Drain() { s.drain() }

// Directory returns the workers and tasks that the Service knows.
func (s *Service) Directory() *Directory { return s.tasks }

// seconds returns a duration of a request.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// waitOf returns the time that a call may wait.
func waitOf(wait *float64) (time.Duration, error) {
	if wait == nil {
		return DefaultWait, nil
	}
	if *wait < 0 || *wait > MaxWait.Seconds() {
		return 0, invalid("wait: %v is not between 0 and %v seconds", *wait, MaxWait.Seconds())
	}
	return seconds(*wait), nil
}
