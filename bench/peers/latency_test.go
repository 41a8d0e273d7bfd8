package peers

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
)

// latencySeconds is the length of each measurement of latencies.
const latencySeconds = 3

// timed is a task queue whose latency is measured.
type timed struct {
	name  string
	n     int  // tasks that measure the highest rate
	redis bool // whether the store is a redis-server; else a file
	// start starts a process in a role, see roleKey. Nil: this binary, see inGo.
	start func(b *testing.B, address, role string, n int) *child
	alone bool // whether one process enqueues and works, because a worker gets no message from another process
}

// latencies of these programs are measured. Go programs have an entry in inGo.
var latencies = []timed{
	{name: "gale on SQLite", n: 10_000},
	{name: "gale on Redis Streams", n: 10_000, redis: true},
	{name: "asynq", n: 10_000, redis: true},
	{name: "machinery, its Redis broker", n: 8000, redis: true},
	{name: "bullmq", n: 8000, redis: true, start: bullmq},
	{name: "celery, late acks", n: 1000, redis: true, start: celeryRole},
	{name: "river, its defaults", n: 800, alone: true},
	{name: "river, WAL, FULL, no pause", n: 2000, alone: true},
}

// BenchmarkLatency prints the time from the scheduled time of a task to its start, while tasks
// are enqueued at a constant rate: 10 % and 90 % of the rate at which the program enqueues and
// runs tasks at the same time.
func BenchmarkLatency(b *testing.B) {
	for b.Loop() {
		most := map[string]float64{}
		for _, p := range latencies {
			most[p.name] = p.saturate(b)
		}
		for _, load := range []struct {
			percent float64
			figure  string
		}{{10, "latency"}, {90, "latency-busy"}} {
			f := out.Begin(fmt.Sprintf("Latency from enqueue to start, at %v %% of the highest rate", load.percent), command)
			f.X, f.Y, f.Log = "percentile", "ms", true
			for _, p := range latencies {
				rate := max(1, most[p.name]*load.percent/100)
				all := p.latency(b, rate, scaled(int(rate*latencySeconds)))
				b.Logf("%-44s %2.0f %% of %6.0f tasks/s: p50 %8.2f ms, p99 %8.2f ms, longest %8.2f ms, %d tasks", p.name, load.percent, most[p.name],
					ms(all, 50), ms(all, 99), ms(all, 100), len(all))
				for _, percentile := range []int{50, 99} {
					f.Add(p.name, float64(percentile), ms(all, percentile))
				}
			}
			if err := out.Write(f, load.figure); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// ms returns a percentile of sorted microseconds in milliseconds.
func ms(all []int64, percentile int) float64 {
	return float64(max(all[min(len(all)*percentile/100, len(all)-1)], 1)) / 1000
}

// address returns the address of a new store.
func (p timed) address(b *testing.B) string {
	b.Helper()
	if p.redis {
		return redistest.StartAOF(b).Addr
	}
	return filepath.Join(b.TempDir(), "tasks.db")
}

func (p timed) begin(b *testing.B, address, role string, n int) *child {
	b.Helper()
	if p.start != nil {
		return p.start(b, address, role, n)
	}
	return startChild(b, "", []string{roleKey + "=" + role}, self, p.name, address, strconv.Itoa(n))
}

// saturate returns the rate at which the program enqueues and runs tasks at the same time.
func (p timed) saturate(b *testing.B) float64 {
	b.Helper()
	address, n := p.address(b), scaled(p.n)
	if p.alone {
		// Writing the times takes less than enqueueing the tasks.
		w := p.begin(b, address, "both", n)
		began := time.Now()
		w.schedule(b, 1e6, n)
		return w.times(b).since(began.UnixMicro())
	}
	w := p.begin(b, address, "work", n)
	e := p.begin(b, address, "enqueue", n)
	began := time.Now()
	e.end(b)
	return w.times(b).since(began.UnixMicro())
}

// latency enqueues n tasks at a constant rate and returns their latencies in microseconds,
// sorted.
func (p timed) latency(b *testing.B, rate float64, n int) []int64 {
	b.Helper()
	address := p.address(b)
	role := "work"
	if p.alone {
		role = "both"
	}
	w := p.begin(b, address, role, n)
	if p.alone {
		w.schedule(b, rate, n)
	} else {
		e := p.begin(b, address, "schedule", 0)
		e.schedule(b, rate, n)
		e.end(b)
	}
	all := w.times(b).Latencies
	slices.Sort(all)
	return all
}
