package peers

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"
	"github.com/hibiken/asynq"
	"github.com/riverqueue/river"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	galemachinery "github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/redisstream"
	"github.com/galeserver/gale/jobs/sqlite"
)

// inGo are the programs of BenchmarkLatency that are written in Go, by name.
var inGo = map[string]opened{
	"gale on SQLite": func(ctx context.Context, path string, run func(int64)) (*connection, error) {
		store, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			return nil, err
		}
		return galeConnection(store, run)
	},
	"gale on Redis Streams": func(ctx context.Context, address string, run func(int64)) (*connection, error) {
		store, err := redisstream.Open(ctx, "redis://"+address, redisstream.Options{})
		if err != nil {
			return nil, err
		}
		return galeConnection(store, run)
	},
	"asynq":                       asynqConnection,
	"machinery, its Redis broker": machineryConnection,
	"river, its defaults": func(ctx context.Context, path string, run func(int64)) (*connection, error) {
		return riverConnection(ctx, path, riverDefaults(), run)
	},
	"river, WAL, FULL, no pause": func(ctx context.Context, path string, run func(int64)) (*connection, error) {
		return riverConnection(ctx, path+galePragmas, riverAtOnce(), run)
	},
}

func galeConnection(store driver.Store, run func(int64)) (*connection, error) {
	d, err := jobs.Function("noop", func(at int64) error { run(at); return nil })
	if err != nil {
		return nil, err
	}
	registry, err := jobs.NewRegistry(d)
	if err != nil {
		return nil, err
	}
	w, err := galemachinery.New(store, registry, galemachinery.Options{Owner: "bench/worker.0", Concurrency: concurrency})
	if err != nil {
		return nil, err
	}
	client := &jobs.Client{Store: store, Tasks: registry}
	return &connection{
		enqueue: func(ctx context.Context, at int64) error {
			_, _, err := client.Enqueue(ctx, jobs.NewTask{Name: "noop", Args: []byte("[" + strconv.FormatInt(at, 10) + "]")})
			return err
		},
		work:  w.Run,
		close: store.Close,
	}, nil
}

func asynqConnection(_ context.Context, address string, run func(int64)) (*connection, error) {
	opt := asynq.RedisClientOpt{Addr: address}
	client := asynq.NewClient(opt)
	return &connection{
		enqueue: func(ctx context.Context, at int64) error {
			_, err := client.EnqueueContext(ctx, asynq.NewTask("noop", strconv.AppendInt(nil, at, 10)), asynq.Retention(time.Hour))
			return err
		},
		work: func(ctx context.Context) error {
			s := asynq.NewServer(opt, asynq.Config{Concurrency: concurrency, LogLevel: asynq.FatalLevel})
			defer s.Shutdown()
			err := s.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
				at, err := strconv.ParseInt(string(t.Payload()), 10, 64)
				run(at)
				return err
			}))
			if err == nil {
				<-ctx.Done()
			}
			return err
		},
		close: client.Close,
	}, nil
}

func machineryConnection(_ context.Context, address string, run func(int64)) (*connection, error) {
	s := machineryServer(address)
	if err := s.RegisterTask("noop", func(at int64) error { run(at); return nil }); err != nil {
		return nil, err
	}
	return &connection{
		enqueue: func(ctx context.Context, at int64) error {
			_, err := s.SendTaskWithContext(ctx, &tasks.Signature{Name: "noop", Args: []tasks.Arg{{Type: "int64", Value: at}}})
			return err
		},
		work:  func(context.Context) error { return s.NewWorker("bench", concurrency).Launch() },
		close: func() error { return nil },
	}, nil
}

func riverConnection(ctx context.Context, path string, cfg *river.Config, run func(int64)) (*connection, error) {
	client, closed, err := riverClient(ctx, path, cfg, func(j *river.Job[noopArgs]) { run(j.Args.At) })
	if err != nil {
		return nil, err
	}
	return &connection{
		enqueue: func(ctx context.Context, at int64) error {
			_, err := client.Insert(ctx, noopArgs{At: at}, nil)
			return err
		},
		work: func(ctx context.Context) error {
			if err := client.Start(ctx); err != nil {
				return err
			}
			<-client.Stopped()
			return nil
		},
		close: closed,
	}, nil
}

// bullmq starts BullMQ in a role.
func bullmq(b *testing.B, address, role string, n int) *child {
	b.Helper()
	dir, err := filepath.Abs("bullmq")
	if err != nil {
		b.Fatal(err)
	}
	env := []string{"REDIS=" + address, "CONCURRENCY=" + strconv.Itoa(concurrency)}
	return startChild(b, dir, env, "node", "queue.js", role, strconv.Itoa(n))
}
