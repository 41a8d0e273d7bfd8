package peers

import (
	"testing"

	"github.com/galeserver/gale/internal/redistest"
)

// BenchmarkQueue prints the rate of tasks by the number of queued tasks.
func BenchmarkQueue(b *testing.B) {
	peers := []peer{
		{name: "gale on Redis Streams", run: galeRedis},
		{name: "gale on SQLite", run: galeSQLite},
		{name: "machinery, its Redis broker", run: machineryRedis},
		{name: "asynq", run: asynqRedis},
	}
	for b.Loop() {
		f := out.Begin("No-op tasks, by number of queued tasks", command)
		f.X, f.Y, f.Log = "tasks in the queue", "tasks a second", true
		for _, n := range []int{500, 5000, 25_000} {
			n = scaled(n)
			var first float64
			for i, p := range peers {
				rate := p.run(b, redistest.StartAOF(b), n).rate
				if i == 0 {
					first = rate
				}
				b.Logf("%6d queued: %-32s %8.0f tasks/s   gale on Redis is %5.2f times as fast", n, p.name, rate, first/rate)
				f.Add(p.name, float64(n), rate)
			}
		}
		if err := out.Write(f, "queue"); err != nil {
			b.Fatal(err)
		}
	}
}
