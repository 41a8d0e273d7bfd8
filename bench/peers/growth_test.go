package peers

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/redisstream"
	"github.com/galeserver/gale/jobs/sqlite"
)

// growthTasks is the number of tasks of each measurement of BenchmarkGrowth.
const growthTasks = 2000

// finishedTasks and waitingTasks are the numbers of tasks that a store has in BenchmarkGrowth,
// in ascending order. The axis of the plots is logarithmic, so there is no zero.
var (
	finishedTasks = []int{1000, 10_000, 100_000, 1_000_000}
	waitingTasks  = []int{100, 10_000, 100_000}
)

// growing is a store that is filled with copies of a finished task, which takes less time than
// running that many tasks.
type growing struct {
	name string
	open func(b *testing.B) (s driver.Store, copies func(n int) error, size func() (int64, error))
}

var growths = []growing{{"gale on Redis Streams", growingRedis}, {"gale on SQLite", growingSQLite}}

// BenchmarkGrowth prints the rate of tasks by the number of finished tasks in the store, the
// space that a finished task needs, and the time of an Enqueue by the number of waiting tasks.
func BenchmarkGrowth(b *testing.B) {
	for b.Loop() {
		rate := out.Begin("No-op tasks, by number of finished tasks in the store", command)
		rate.X, rate.Y = "finished tasks", "tasks a second"
		space := out.Begin("Space of a finished task", command)
		space.Y = "bytes"
		enqueue := out.Begin("Enqueue by 32 clients, by number of waiting tasks", command)
		enqueue.X, enqueue.Y = "waiting tasks", "µs for each task"
		for _, g := range growths {
			store, copies, size := g.open(b)
			have := 0
			var before int64
			for i, n := range finishedTasks {
				n = scaled(n)
				if err := copies(n - have); err != nil {
					b.Fatal(err)
				}
				have = n
				bytes, err := size()
				if err != nil {
					b.Fatal(err)
				}
				var values []float64
				for range rounds {
					values = append(values, runTasks(b, store, scaled(growthTasks)))
				}
				slices.Sort(values)
				b.Logf("%-24s %8d finished tasks: %6.0f tasks/s (%.0f to %.0f)", g.name, n, values[rounds/2], values[0], values[rounds-1])
				rate.AddRounds(g.name, float64(n), values)
				have += rounds * scaled(growthTasks)
				switch i {
				case 0:
					before = bytes
				case len(finishedTasks) - 1:
					each := float64(bytes-before) / float64(n-scaled(finishedTasks[0]))
					b.Logf("%-24s %6.0f bytes for each finished task", g.name, each)
					space.Add(g.name, 0, each)
				}
			}
			shut(b, store)
		}
		for _, g := range growths {
			store, _, _ := g.open(b)
			have := 0
			for _, n := range waitingTasks {
				n = scaled(n)
				enqueueTasks(b, store, n-have)
				took := enqueueTasks(b, store, scaled(growthTasks))
				have = n + scaled(growthTasks)
				b.Logf("%-24s %8d waiting tasks: %v for each Enqueue", g.name, n, took.Round(time.Microsecond))
				enqueue.Add(g.name, float64(n), float64(took)/float64(time.Microsecond))
			}
			shut(b, store)
		}
		if err := errors.Join(out.Write(rate, "finished"), out.Write(space, "space"), out.Write(enqueue, "waiting")); err != nil {
			b.Fatal(err)
		}
	}
}

func shut(b *testing.B, store driver.Store) {
	b.Helper()
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
}

// runTasks enqueues n tasks and returns the rate at which a worker runs them.
func runTasks(b *testing.B, store driver.Store, n int) float64 {
	b.Helper()
	return gale(b, nil, store, n).rate
}

// enqueueTasks enqueues n tasks and returns the time for each.
func enqueueTasks(b *testing.B, store driver.Store, n int) time.Duration {
	b.Helper()
	registry, err := jobs.NewRegistry(jobs.Definition{Name: "noop", Handler: func(context.Context, *jobs.Job) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	client := &jobs.Client{Store: store, Tasks: registry}
	began := time.Now()
	inParallel(b, n, func(int) error { _, _, err := client.Enqueue(b.Context(), jobs.NewTask{Name: "noop"}); return err })
	return time.Since(began) / time.Duration(max(n, 1))
}

// finishedTask runs one task and returns its id.
func finishedTask(b *testing.B, store driver.Store) string {
	b.Helper()
	runTasks(b, store, 1)
	page, err := store.List(b.Context(), jobs.Query{State: jobs.StateSuccess})
	if err != nil || len(page.Tasks) != 1 {
		b.Fatalf("finished tasks: %v, %v; want one", page.Tasks, err)
	}
	return page.Tasks[0].ID
}

// copyInRedis copies the finished task ARGV[2] as often as ARGV[1] says. The ids of the copies
// are as long as those of real tasks and start with ARGV[3].
var copyInRedis = redis.NewScript(`
local base, key = KEYS[1] .. ':', KEYS[1] .. ':task:'
local ended = redis.call('ZSCORE', base .. 'ended', ARGV[2])
for i = 1, tonumber(ARGV[1]) do
  local id = ARGV[3] .. string.format('%06d', i)
  redis.call('COPY', key .. ARGV[2], key .. id)
  redis.call('ZADD', base .. 'tasks', redis.call('INCR', base .. 'count'), id)
  redis.call('ZADD', base .. 'ended', ended, id)
end`)

func growingRedis(b *testing.B) (driver.Store, func(int) error, func() (int64, error)) {
	b.Helper()
	// The copies would start a rewrite of the append-only file.
	server := redistest.Start(b, "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
	store, err := redisstream.Open(b.Context(), server.URL(), redisstream.Options{})
	if err != nil {
		b.Fatal(err)
	}
	original := ""
	copies := func(n int) error {
		if original == "" {
			original = finishedTask(b, store)
		}
		for n > 0 {
			some := min(n, 1000)
			if err := copyInRedis.Run(b.Context(), server.Client(), []string{"{gale:jobs}"}, some, original, jobs.NewID()[:20]).Err(); err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			n -= some
		}
		return nil
	}
	return store, copies, func() (int64, error) {
		info, err := server.Client().InfoMap(b.Context(), "memory").Result()
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	}
}

func growingSQLite(b *testing.B) (driver.Store, func(int) error, func() (int64, error)) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "jobs.db")
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() }) // the file is not used again
	original, columns := "", ""
	copies := func(n int) error {
		if original == "" {
			original = finishedTask(b, store)
			err := db.QueryRowContext(b.Context(), `SELECT group_concat(name) FROM pragma_table_info('tasks') WHERE name NOT IN ('seq', 'id')`).Scan(&columns)
			if err != nil {
				return err
			}
		}
		for n > 0 {
			some := min(n, 50_000)
			// The ids are random and as long as those of real tasks.
			_, err := db.ExecContext(b.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
				INSERT INTO tasks (id, `+columns+`) SELECT hex(randomblob(13)), `+columns+` FROM n, tasks WHERE id = ?2`, some, original)
			if err != nil {
				return err
			}
			n -= some
		}
		return nil
	}
	return store, copies, func() (pages int64, err error) {
		err = db.QueryRowContext(b.Context(), `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&pages)
		return pages, err
	}
}
