package peers

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2"
	redisbackend "github.com/RichardKnop/machinery/v2/backends/redis"
	redisbroker "github.com/RichardKnop/machinery/v2/brokers/redis"
	"github.com/RichardKnop/machinery/v2/config"
	locks "github.com/RichardKnop/machinery/v2/locks/eager"
	mlog "github.com/RichardKnop/machinery/v2/log"
	"github.com/RichardKnop/machinery/v2/tasks"
	"github.com/hibiken/asynq"

	"github.com/galeserver/gale/bench/figure"
	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	galemachinery "github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/redisstream"
	"github.com/galeserver/gale/jobs/sqlite"
)

const (
	noops       = 20_000 // tasks of each peer in a round
	concurrency = 32     // concurrent tasks in the one worker of a peer
	rounds      = 3      // number of rounds; results are medians
)

var out figure.Output

func TestMain(m *testing.M) {
	out.Flags(flag.CommandLine)
	flag.Parse()
	if err := out.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// command is the command that measures the figures.
const command = "make bench-jobs"

// peer is a task queue. run enqueues n no-op tasks, runs them in one worker, and returns
// the rate per second.
type peer struct {
	name string
	run  func(b *testing.B, server *redistest.Server, n int) float64
	n    int
}

// BenchmarkNoop prints a table. Run it with -benchtime 1x. The peers run in turns, so
// that other work of the machine affects all of them.
func BenchmarkNoop(b *testing.B) {
	peers := []peer{
		{"gale on Redis Streams", galeRedis, noops},
		{"gale on SQLite", galeSQLite, noops},
		{"gale on SQLite, Python worker", galePython, noops / 2},
		{"machinery, its Redis broker", machineryRedis, noops},
		{"asynq", asynqRedis, noops},
		{"river on SQLite, its defaults", riverDefault, noops / 20},
		{"river on SQLite, WAL, FULL, fetches at once", riverLikeGale, noops / 10},
		{"celery, results kept, late acks", celeryKeeps, noops / 10},
		{"celery, only a broker", celeryBare, noops / 10},
	}
	for b.Loop() {
		f := out.Begin("No-op tasks, one worker", command)
		f.Y = "tasks a second"
		figures := make([][]float64, len(peers))
		for range rounds {
			for i, p := range peers {
				// A new server for each peer, without data of the others.
				figures[i] = append(figures[i], p.run(b, redistest.StartAOF(b), p.n))
			}
		}
		var first float64
		for i, p := range peers {
			slices.Sort(figures[i])
			median := figures[i][rounds/2]
			if i == 0 {
				first = median
			}
			b.Logf("%-44s %8.0f tasks/s   gale on Redis is %5.2f times as fast", p.name, median, first/median)
			f.Add(p.name, 0, median)
		}
		if err := out.Write(f, "tasks"); err != nil {
			b.Fatal(err)
		}
	}
}

// inParallel runs fn for 0 to n-1 in many goroutines.
func inParallel(b *testing.B, n int, fn func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range concurrency {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := fn(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// count is called by each task; the last of n tasks closes done.
type count struct {
	left atomic.Int64
	done chan struct{}
}

func newCount(n int) *count {
	c := &count{done: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *count) one() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// wait waits for the last task and returns the rate per second since began.
func (c *count) wait(b *testing.B, n int, began time.Time) float64 {
	b.Helper()
	select {
	case <-c.done:
	case <-time.After(time.Minute):
		b.Fatalf("%d tasks are left", c.left.Load())
	}
	return float64(n) / time.Since(began).Seconds()
}

func galeRedis(b *testing.B, server *redistest.Server, n int) float64 {
	store, err := redisstream.Open(b.Context(), server.URL(), redisstream.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return gale(b, store, n)
}

func galeSQLite(b *testing.B, _ *redistest.Server, n int) float64 {
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "jobs.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return gale(b, store, n)
}

func gale(b *testing.B, store driver.Store, n int) float64 {
	defer store.Close()
	c := newCount(n)
	registry, err := jobs.NewRegistry(jobs.Definition{Name: "noop", Handler: func(context.Context, *jobs.Job) error { c.one(); return nil }})
	if err != nil {
		b.Fatal(err)
	}
	client := &jobs.Client{Store: store, Tasks: registry}
	inParallel(b, n, func(int) error { _, _, err := client.Enqueue(b.Context(), jobs.NewTask{Name: "noop"}); return err })
	w, err := galemachinery.New(store, registry, galemachinery.Options{Owner: "bench/worker.0", Concurrency: concurrency})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- w.Run(ctx) }() // ends with ctx
	rate := c.wait(b, n, began)
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	return rate
}

func machineryRedis(b *testing.B, server *redistest.Server, n int) float64 {
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	mlog.SetDebug(quiet)
	mlog.SetInfo(quiet)
	mlog.SetWarning(quiet)
	mlog.SetError(quiet)
	cnf := &config.Config{DefaultQueue: "noops", ResultsExpireIn: 3600, NoUnixSignals: true, Redis: &config.RedisConfig{}}
	addrs := []string{server.Addr}
	s := machinery.NewServer(cnf, redisbroker.NewGR(cnf, addrs, 0), redisbackend.NewGR(cnf, addrs, 0), locks.New())
	c := newCount(n)
	if err := s.RegisterTask("noop", func() error { c.one(); return nil }); err != nil {
		b.Fatal(err)
	}
	inParallel(b, n, func(int) error { _, err := s.SendTask(&tasks.Signature{Name: "noop"}); return err })
	w := s.NewWorker("bench", concurrency)
	ended := make(chan error, 1)
	began := time.Now()
	w.LaunchAsync(ended) // ends with Quit
	rate := c.wait(b, n, began)
	w.Quit()
	<-ended
	return rate
}

func asynqRedis(b *testing.B, server *redistest.Server, n int) float64 {
	opt := asynq.RedisClientOpt{Addr: server.Addr}
	client := asynq.NewClient(opt)
	defer client.Close()
	// asynq keeps ended tasks, as Gale does.
	inParallel(b, n, func(int) error {
		_, err := client.Enqueue(asynq.NewTask("noop", nil), asynq.Retention(time.Hour))
		return err
	})
	c := newCount(n)
	s := asynq.NewServer(opt, asynq.Config{Concurrency: concurrency, LogLevel: asynq.FatalLevel})
	began := time.Now()
	if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { c.one(); return nil })); err != nil {
		b.Fatal(err)
	}
	rate := c.wait(b, n, began)
	s.Shutdown()
	return rate
}

// BenchmarkEnqueue prints the time that Enqueue takes at a thousand tasks a second, while
// a worker runs them.
func BenchmarkEnqueue(b *testing.B) {
	const rate, seconds = 1000, 5
	for b.Loop() {
		for _, name := range []string{"Redis Streams", "SQLite"} {
			var store driver.Store
			var err error
			if name == "SQLite" {
				store, err = sqlite.Open(filepath.Join(b.TempDir(), "jobs.db"), sqlite.Options{})
			} else {
				store, err = redisstream.Open(b.Context(), redistest.StartAOF(b).URL(), redisstream.Options{})
			}
			if err != nil {
				b.Fatal(err)
			}
			took := arrivals(b, store, rate, rate*seconds)
			slices.Sort(took)
			b.Logf("%-14s enqueue at %d/s: p50 %v, p99 %v, longest %v", name, rate,
				took[len(took)/2].Round(time.Microsecond), took[len(took)*99/100].Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond))
			store.Close()
		}
	}
}

// arrivals enqueues n tasks at a constant rate and returns the time that each Enqueue
// took.
func arrivals(b *testing.B, store driver.Store, rate, n int) []time.Duration {
	b.Helper()
	registry, err := jobs.NewRegistry(jobs.Definition{Name: "noop", Handler: func(context.Context, *jobs.Job) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	w, err := galemachinery.New(store, registry, galemachinery.Options{Owner: "bench/worker.0", Concurrency: concurrency})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }() // ends with ctx
	client := &jobs.Client{Store: store, Tasks: registry}
	took := make([]time.Duration, n)
	var all sync.WaitGroup
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n; <-tick.C {
		for range rate / 100 {
			i0 := i
			all.Go(func() {
				began := time.Now()
				if _, _, err := client.Enqueue(b.Context(), jobs.NewTask{ID: fmt.Sprint("t", i0), Name: "noop"}); err != nil {
					b.Error(err)
				}
				took[i0] = time.Since(began)
			})
			i++
		}
	}
	all.Wait()
	cancel()
	<-ended
	return took
}
