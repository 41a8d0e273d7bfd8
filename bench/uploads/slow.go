package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/galeserver/gale/bench/figure"
	"github.com/galeserver/gale/bench/process"
)

// A slow client sends slowSize bytes, a piece each slowPace: 16 KiB a second.
const (
	slowSize = 256 << 10
	slowPace = 125 * time.Millisecond
)

// arrival is the time in which the slow clients connect: if all did at once, the accept queue of
// Tornado would be too short.
const arrival = 2 * time.Second

// idleTime is the time for which the probe measures a server without uploads.
const idleTime = 2 * time.Second

// load is what a server needs, summed over its processes.
type load struct {
	memory      int64 // bytes
	descriptors int
	goroutines  int // 0: not known
	cpu         time.Duration
}

// slow measures servers that n slow clients send files to.
func slow(ctx context.Context, w io.Writer, dir string, n int, out *figure.Output) error {
	const command = "go run ./bench/uploads -out bench/results"
	memory := out.Begin(fmt.Sprintf("%d slow uploads at once: memory over idle", n), command)
	memory.Y = "MiB"
	wait := out.Begin(fmt.Sprintf("GET / beside %d slow uploads, and without them", n), command)
	wait.Y = "p99, ms"
	fmt.Fprintf(w, "%d clients, each sends %d KiB at %d KiB/s\n", n, slowSize>>10, piece*int(time.Second/slowPace)>>10)
	for _, start := range []starter{galeForm, galeTus, named("nginx", nginx), named("Tornado", tornado)} {
		if err := slowly(ctx, w, filepath.Join(dir, "slow"), n, start, memory, wait); err != nil {
			return err
		}
	}
	if err := out.Write(memory, "slowmemory"); err != nil {
		return err
	}
	return out.Write(wait, "slowprobe")
}

// slowly measures one server.
func slowly(ctx context.Context, w io.Writer, dir string, n int, start starter, memory, wait *figure.Figure) error {
	peers, end, err := begin(ctx, dir, start)
	defer end()
	if err != nil {
		return err
	}
	p := peers[0]
	if err := p.send(ctx, &conn{addr: p.addr}, "first.bin", block[:slowSize]); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := p.clear(slowSize, 1); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	idle := make(chan struct{})
	time.AfterFunc(idleTime, func() { close(idle) })
	without, err := probe(ctx, p.addr, idle)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	before, err := p.load(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	most, beside, err := p.sendSlowly(ctx, n)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	mib := float64(most.memory-before.memory) / (1 << 20)
	fmt.Fprintf(w, "%s: memory %.1f MiB over %.1f idle, %d descriptors (%d idle), %d goroutines (%d idle), %.2f s of CPU time with %d probes\n",
		p.name, mib, float64(before.memory)/(1<<20), most.descriptors, before.descriptors, most.goroutines, before.goroutines,
		(most.cpu - before.cpu).Seconds(), len(beside))
	fmt.Fprintf(w, "  GET /: p50 %.2f ms, p99 %.2f ms; without uploads p50 %.2f ms, p99 %.2f ms\n",
		quantile(beside, .5), quantile(beside, .99), quantile(without, .5), quantile(without, .99))
	memory.Add(p.name, 0, mib)
	wait.Add(p.name+", without uploads", 0, quantile(without, .99))
	wait.Add(p.name+", with uploads", 0, quantile(beside, .99))
	return p.clear(slowSize, int64(n))
}

// sendSlowly sends a file from each of n clients at the same time. It returns the highest load,
// and the latencies of a probe.
func (p *peer) sendSlowly(ctx context.Context, n int) (most load, beside []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients, watchers sync.WaitGroup
	for i := range n {
		clients.Go(func() { // ends after its file, or with the first error
			c := &conn{addr: p.addr, pace: slowPace}
			defer c.close()
			select {
			case <-ctx.Done():
				return
			case <-time.After(arrival * time.Duration(i) / time.Duration(n)):
			}
			if err := p.send(ctx, c, fmt.Sprintf("%d.bin", i), block[:slowSize]); err != nil {
				cancel(fmt.Errorf("slow client: %w", err))
			}
		})
	}
	done := make(chan struct{})
	watchers.Go(func() { // ends with done
		var err error
		if beside, err = probe(ctx, p.addr, done); err != nil {
			cancel(fmt.Errorf("probe: %w", err))
		}
	})
	watchers.Go(func() { // ends with done
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			now, err := p.load(ctx)
			if err != nil {
				cancel(err)
				return
			}
			most = load{max(most.memory, now.memory), max(most.descriptors, now.descriptors), max(most.goroutines, now.goroutines), now.cpu}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	clients.Wait()
	close(done)
	watchers.Wait()
	return most, beside, context.Cause(ctx)
}

// load reads what the processes of the server use now.
func (p *peer) load(ctx context.Context) (now load, err error) {
	family, err := process.Family(p.server.Process.Pid)
	if err != nil {
		return now, err
	}
	for _, pid := range family {
		memory, err := process.Proportional(pid)
		if err != nil {
			return now, err
		}
		descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return now, err
		}
		now.memory += memory
		now.descriptors += len(descriptors)
	}
	if now.cpu, err = process.CPU(p.server.Process.Pid); err == nil && p.admin != "" {
		now.goroutines, err = goroutines(ctx, p.admin)
	}
	return now, err
}

// goroutines returns the number of goroutines in all processes of Gale, from its metrics.
func goroutines(ctx context.Context, admin string) (n int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // is read
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines{"); ok {
			_, value, _ = strings.Cut(value, "} ")
			one, err := strconv.Atoi(value)
			if err != nil {
				return 0, err
			}
			n += one
		}
	}
	return n, lines.Err()
}
