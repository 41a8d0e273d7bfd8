package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/galeserver/gale/app/internal/command"
	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/app/internal/metrics"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/artifacts"
	"github.com/galeserver/gale/jobs/celery"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/schedule"
	"github.com/galeserver/gale/jobs/workerapi"
	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
	"github.com/galeserver/gale/uploads"
)

// workerCounters returns the counters of a worker slot.
func workerCounters(c config.Config, slot string, blocking *pool.Pool) metrics.Sources {
	counters := metrics.Sources{
		Pools: map[string]*pool.Pool{"tasks": blocking}, Tasks: metrics.NewTasks(), Traces: traceCounters(c),
		Realtime: new(realtime.Counters), Limit: new(limit.Counters), Cache: new(cache.Counters), Waiting: waitingReader(slot, c),
	}
	if c.Celery != "" {
		counters.Celery = new(celery.Counters)
	}
	if c.Files != "" { // a worker receives no uploads, but sends requests to object storage
		counters.Uploads = metrics.NewUploads()
	}
	return counters
}

// work runs a worker slot. When ctx is done, it leases no more tasks and waits for those
// that are running.
func work(ctx context.Context, child process, a Application, c config.Config, log *slog.Logger) (err error) {
	blocking := pool.New(pool.Options{Workers: c.Pool, Queue: cmp.Or(c.PoolQueue, -1)}) // 0 is none, not the default
	counters := workerCounters(c, child.Slot(), blocking)
	files := uploads.Options{MaxFile: c.MaxUpload, Logger: log}
	if counters.Uploads != nil {
		files.Meter = counters.Uploads
	}
	figures, traces, stop := observe(ctx, child, a, c, counters, log)
	defer stop() // runs last, with the final counts
	s, err := openState(ctx, c, files, counters.Tasks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	services, err := openServices(ctx, c, s, counters, figures, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, services.redis.Close()) }()
	tasks, err := registry(services.attach(a.tasks(), s.uploads), commands(c, s))
	if err != nil {
		return err
	}
	services.Tasks, services.Pool = &jobs.Client{Store: s.store, Tasks: tasks, Announced: workerapi.NewDirectory(s.store), Meter: counters.Tasks}, blocking
	if err := command.Sweep(s.temp); err != nil { // must come before a lost task is started again
		log.Warn("cannot remove processes and temporary files that a killed worker left", "error", err)
	}
	sweepPrograms(ctx, c, s, log)
	w, err := machinery.New(s.store, tasks, machinery.Options{
		Owner: child.Owner(), Successor: child.OnlyProcess(), Queues: c.Queues, Weights: c.Weights, Concurrency: c.Concurrency,
		Grace: drainTime(c.Grace), Artifacts: s.artifacts, Meter: counters.Tasks, Stopwatch: counters.Tasks, Logger: log,
		TracerProvider: traces.Provider(),
	})
	if err != nil {
		return err
	}
	periodic, err := schedules(a, c)
	if err != nil {
		return err
	}
	scheduler := schedule.New(services.Tasks, s.store, periodic, log)
	sweeper := &artifacts.Sweeper{Artifacts: s.artifacts, Store: s.store, Logger: log}
	upper := []runFunc{w.Run, scheduler.Run, sweeper.Run, watchPlace(a, c, log), readWaiting(counters.Waiting, s.store)}
	if c.Celery != "" {
		bridge, err := celery.New(services.Tasks, celery.Options{
			Address: c.Celery, Results: c.CeleryResults, Queues: c.CeleryQueues, Prefix: c.CeleryPrefix, Counters: counters.Celery, Logger: log,
		})
		if err != nil {
			return err
		}
		upper = append(upper, bridge.Run)
	}
	lower := []runFunc{blocking.Run}
	if c.Redis != "" { // without it there is no channel to subscribe to
		lower = append(lower, services.Channels.Run)
	}
	claim := func(ctx context.Context) error {
		return workerapi.KeepClaim(ctx, s.store, child.Owner(), workerapi.ClaimOf(tasks, c.Queues), log)
	}
	return runLayers(ctx, append(upper, claim), lower, func() { notifyReady(child, log) }, func() error { return nil })
}
