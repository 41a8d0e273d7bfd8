package peers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	"golang.org/x/sys/unix"

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

// scale is the factor for the numbers of tasks.
var scale float64

// scaled returns the number of tasks, at least 20.
func scaled(n int) int { return max(int(float64(n)*scale), 20) }

// self is the path of this binary.
var self string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleKey); role != "" {
		if err := inRole(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "peers:", role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	self, _ = os.Executable() // starting the child reports an error
	out.Flags(flag.CommandLine)
	flag.Float64Var(&scale, "scale", 1, "`factor` for the numbers of tasks, for a short test of the benchmarks; their values then mean nothing")
	flag.Parse()
	if err := out.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// command is the command that measures the figures.
const command = "make bench-jobs"

// peer is a task queue. run enqueues n no-op tasks and runs them in one worker.
type peer struct {
	name string
	run  func(b *testing.B, server *redistest.Server, n int) result
	n    int
}

// result is the rate per second at which a worker has run tasks, and the CPU time for each
// task of the process that runs the worker and of redis-server, 0 if it is not known.
type result struct {
	rate       float64
	own, redis time.Duration
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
		{"bullmq", bullmqRedis, noops / 2},
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
				r := p.run(b, redistest.StartAOF(b), scaled(p.n))
				figures[i] = append(figures[i], r.rate)
				if r.own > 0 {
					b.Logf("%-44s %8.0f tasks/s   CPU for each task: worker %v, redis-server %v", p.name, r.rate, r.own.Round(time.Microsecond), r.redis.Round(time.Microsecond))
				}
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
			f.AddRounds(p.name, 0, figures[i])
		}
		if err := out.Write(f, "tasks"); err != nil {
			b.Fatal(err)
		}
	}
}

// inParallel runs fn for 0 to n-1 in many goroutines.
func inParallel(b *testing.B, n int, fn func(i int) error) {
	b.Helper()
	if err := together(n, fn); err != nil {
		b.Fatal(err)
	}
}

// together is inParallel outside of a benchmark. After an error of a goroutine, the others go
// on.
func together(n int, fn func(i int) error) error {
	var next atomic.Int64
	errs := make(chan error, concurrency)
	for range concurrency {
		go func() { // waited for below
			var err error
			for i := next.Add(1) - 1; i < int64(n) && err == nil; i = next.Add(1) - 1 {
				err = fn(int(i))
			}
			errs <- err
		}()
	}
	var all []error
	for range concurrency {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// count is called by each task; the last of n tasks closes done.
type count struct {
	left atomic.Int64
	done chan struct{}

	began      time.Time
	server     *redistest.Server // nil: no CPU time of a server
	own, redis time.Duration     // CPU times at began
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

// begin starts the clock. server may be nil.
func (c *count) begin(b *testing.B, server *redistest.Server) {
	b.Helper()
	c.server = server
	c.own, c.redis = c.cpu(b)
	c.began = time.Now()
}

// cpu returns the CPU times of this process and of the server.
func (c *count) cpu(b *testing.B) (own, redis time.Duration) {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if c.server == nil {
		return own, 0
	}
	info, err := c.server.Client().InfoMap(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info["CPU"][field], 64)
		if err != nil {
			b.Fatal(err)
		}
		redis += time.Duration(seconds * float64(time.Second))
	}
	return own, redis
}

// wait waits for the last of n tasks and returns the result since begin.
func (c *count) wait(b *testing.B, n int) result {
	b.Helper()
	select {
	case <-c.done:
	case <-time.After(time.Minute):
		b.Fatalf("%d tasks are left", c.left.Load())
	}
	took := time.Since(c.began)
	own, redis := c.cpu(b)
	return result{float64(n) / took.Seconds(), (own - c.own) / time.Duration(n), (redis - c.redis) / time.Duration(n)}
}

func galeRedis(b *testing.B, server *redistest.Server, n int) result {
	store, err := redisstream.Open(b.Context(), server.URL(), redisstream.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	return gale(b, server, store, n)
}

func galeSQLite(b *testing.B, _ *redistest.Server, n int) result {
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "jobs.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	return gale(b, nil, store, n)
}

// gale runs n tasks in a store. server is its redis-server, or nil.
func gale(b *testing.B, server *redistest.Server, store driver.Store, n int) result {
	b.Helper()
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
	c.begin(b, server)
	go func() { ended <- w.Run(ctx) }() // ends with ctx
	r := c.wait(b, n)
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	return r
}

// machineryServer makes a machinery server with its Redis broker.
func machineryServer(address string) *machinery.Server {
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	mlog.SetDebug(quiet)
	mlog.SetInfo(quiet)
	mlog.SetWarning(quiet)
	mlog.SetError(quiet)
	cnf := &config.Config{DefaultQueue: "noops", ResultsExpireIn: 3600, NoUnixSignals: true, Redis: &config.RedisConfig{}}
	addrs := []string{address}
	return machinery.NewServer(cnf, redisbroker.NewGR(cnf, addrs, 0), redisbackend.NewGR(cnf, addrs, 0), locks.New())
}

func machineryRedis(b *testing.B, server *redistest.Server, n int) result {
	s := machineryServer(server.Addr)
	c := newCount(n)
	if err := s.RegisterTask("noop", func() error { c.one(); return nil }); err != nil {
		b.Fatal(err)
	}
	inParallel(b, n, func(int) error { _, err := s.SendTask(&tasks.Signature{Name: "noop"}); return err })
	w := s.NewWorker("bench", concurrency)
	ended := make(chan error, 1)
	c.begin(b, server)
	w.LaunchAsync(ended) // ends with Quit
	r := c.wait(b, n)
	w.Quit()
	<-ended
	return r
}

func asynqRedis(b *testing.B, server *redistest.Server, n int) result {
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
	c.begin(b, server)
	if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { c.one(); return nil })); err != nil {
		b.Fatal(err)
	}
	r := c.wait(b, n)
	s.Shutdown()
	return r
}

// bullmqRedis measures from the start of the first task to that of the last one, without the
// start of Node.js.
func bullmqRedis(b *testing.B, server *redistest.Server, n int) result {
	bullmq(b, server.Addr, "enqueue", n).end(b)
	return result{rate: bullmq(b, server.Addr, "work", n).times(b).rate()}
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
