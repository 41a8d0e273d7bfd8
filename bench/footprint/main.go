// Command footprint prints what bin/server costs while it does nothing, with default flags:
// the size of the binary, the time of `server version`, and the CPU time and the memory of
// each process.
//
//	go run ./bench/footprint [-server bin/server] [-for 30s] [-rounds 5]
//
// The memory of a process is its proportional set size (proc_pid_smaps(5)): pages that it
// shares with others count in part, so the sum is the memory of the server. Each value is the
// median of the rounds, followed by the lowest and the highest one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/galeserver/gale/bench/process"
)

const (
	settle   = 10 * time.Second // waiting time before the first round
	startups = 20               // runs of server version
)

func main() {
	var b bench
	flag.StringVar(&b.program, "server", "bin/server", "`file` of the server")
	flag.DurationVar(&b.period, "for", 30*time.Second, "`duration` of a round")
	flag.IntVar(&b.rounds, "rounds", 5, "`number` of rounds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "footprint:", err)
		os.Exit(1)
	}
}

type bench struct {
	program string
	period  time.Duration
	rounds  int
}

func (b *bench) run(ctx context.Context, w io.Writer) error {
	if b.rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	dir, err := os.MkdirTemp("", "gale-footprint-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "load average at the start: %s", load)
	return errors.Join(b.size(ctx, w, dir), b.startup(ctx, w), b.idle(ctx, w, dir))
}

// size prints the size of the binary as `make dist` builds it, without symbols.
func (b *bench) size(ctx context.Context, w io.Writer, dir string) error {
	file := filepath.Join(dir, "server")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	about, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "binary without symbols: %.1f MiB\n", mib(about.Size()))
	return nil
}

func (b *bench) startup(ctx context.Context, w io.Writer) error {
	var took []float64
	for range startups {
		began := time.Now()
		if err := exec.CommandContext(ctx, b.program, "version").Run(); err != nil {
			return fmt.Errorf("server version: %w", err)
		}
		took = append(took, time.Since(began).Seconds()*1e3)
	}
	fmt.Fprintf(w, "server version: %s ms\n", spread(took))
	return nil
}

// idle prints the CPU time and the memory of the processes of a server without work.
func (b *bench) idle(ctx context.Context, w io.Writer, dir string) error {
	port, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := process.Begin(ctx, port, b.program, "-port", port, "-data", filepath.Join(dir, "data"), "-log-level", "warn")
	if cmd != nil {
		defer func() { _ = cmd.Wait() }() // was sent TERM
	}
	defer cancel()
	if err != nil {
		return err
	}
	if err := wait(ctx, settle); err != nil {
		return err
	}
	family, err := process.Family(cmd.Process.Pid)
	if err != nil {
		return err
	}
	shares, memory := map[int][]float64{}, map[int][]float64{}
	const all = 0 // key of the sums
	for range b.rounds {
		before, err := times(family)
		began := time.Now()
		if err := errors.Join(err, wait(ctx, b.period)); err != nil {
			return err
		}
		after, err := times(family)
		if err != nil {
			return err
		}
		took := time.Since(began)
		sumShare, sumMemory := 0.0, 0.0
		for i, pid := range family {
			share := 100 * (after[i] - before[i]).Seconds() / took.Seconds()
			pss, err := process.Proportional(pid)
			if err != nil {
				return err
			}
			shares[pid], memory[pid] = append(shares[pid], share), append(memory[pid], mib(pss))
			sumShare, sumMemory = sumShare+share, sumMemory+mib(pss)
		}
		shares[all], memory[all] = append(shares[all], sumShare), append(memory[all], sumMemory)
	}
	for _, pid := range append(family, all) {
		name := "all processes"
		if pid != all {
			if name, err = process.Name(pid); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "%-24s %s %% of a core   %s MiB\n", name, spread(shares[pid]), spread(memory[pid]))
	}
	return nil
}

// times returns the CPU times of processes.
func times(pids []int) (all []time.Duration, err error) {
	for _, pid := range pids {
		used, err := process.Used(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, used)
	}
	return all, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// spread returns the median of values, with the lowest and the highest one.
func spread(values []float64) string {
	slices.Sort(values)
	return fmt.Sprintf("%.2f (%.2f to %.2f)", values[len(values)/2], values[0], values[len(values)-1])
}
