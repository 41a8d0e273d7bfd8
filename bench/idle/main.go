// Command idle opens many connections to one process and prints the memory for each
// connection: make bench-idle.
//
// First it measures the resident memory of Gale and of Tornado with idle WebSockets, in
// turns. Then it opens long polls and event streams on Gale, measures their memory, and
// the time until one published message has ended every poll and reached every stream.
package main

import (
	"context"
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

	"github.com/galeserver/gale/bench/figure"
	"github.com/galeserver/gale/bench/process"
)

func main() {
	sockets := flag.Int("sockets", 10_000, "`number` of idle WebSockets")
	waiters := flag.Int("waiters", 5000, "`number` of long polls, and of event streams")
	rounds := flag.Int("rounds", 2, "`number` of turns of each server")
	var out figure.Output
	out.Flags(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := out.Check()
	if err == nil {
		err = run(ctx, os.Stdout, *sockets, *waiters, *rounds, &out)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, sockets, waiters, rounds int, out *figure.Output) (err error) {
	dir, err := os.MkdirTemp("", "gale-idle-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "server"), ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, text)
	}
	f := out.Begin(fmt.Sprintf("%d idle connections, one process", sockets), "go run ./bench/idle -out bench/results")
	f.Y = "KiB of resident memory for each"
	fmt.Fprintf(w, "%d idle WebSockets on one process; KiB of resident memory for each\n", sockets)
	var ratios []float64
	var costs [2][]float64
	for round := range rounds {
		var each [2]float64
		for i, begin := range []starter{gale, tornado} {
			if each[i], err = measure(ctx, dir, begin, sockets); err != nil {
				return err
			}
			costs[i] = append(costs[i], each[i])
		}
		ratios = append(ratios, each[0]/each[1])
		fmt.Fprintf(w, "round %d:  gale %.1f  tornado %.1f  ratio %.2f\n", round+1, each[0], each[1], each[0]/each[1])
	}
	slices.Sort(ratios)
	fmt.Fprintf(w, "median ratio %.2f\n", ratios[len(ratios)/2])
	for i, name := range []string{"gale, WebSockets", "Tornado, WebSockets"} {
		slices.Sort(costs[i])
		f.Add(name, 0, costs[i][len(costs[i])/2])
	}
	if err := measureWaiting(ctx, w, dir, waiters, f); err != nil {
		return err
	}
	return out.Write(f, "idle")
}

// settle is the waiting time before the memory of a process is read.
const settle = 3 * time.Second

// measure returns the memory for each of n idle WebSockets in KiB.
func measure(ctx context.Context, dir string, start starter, n int) (float64, error) {
	s, err := start(ctx, dir)
	defer s.end()
	if err != nil {
		return 0, err
	}
	warm, err := hold(ctx, s.addr, 100, socket)
	warm.close()
	if err != nil {
		return 0, err
	}
	return cost(ctx, s, func() (*held, error) { return hold(ctx, s.addr, n, socket) })
}

// cost returns the additional memory of a server for each of the connections, in KiB.
func cost(ctx context.Context, s *server, open func() (*held, error)) (float64, error) {
	before, err := process.Resident(s.pid)
	if err != nil {
		return 0, err
	}
	h, err := open()
	defer h.close()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settle):
	}
	after, err := process.Resident(s.pid)
	return float64(after-before) / 1024 / float64(len(h.conns)), err
}

// measureWaiting measures long polls and event streams.
func measureWaiting(ctx context.Context, w io.Writer, dir string, n int, f *figure.Figure) error {
	s, err := gale(ctx, dir)
	defer s.end()
	if err != nil {
		return err
	}
	var polls, streams *held
	for _, kind := range []struct {
		name string
		held **held
		open request
	}{{"long polls", &polls, poll}, {"event streams", &streams, stream}} {
		before, err := process.Resident(s.pid)
		if err != nil {
			return err
		}
		h, err := hold(ctx, s.addr, n, kind.open)
		defer h.close()
		*kind.held = h
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		after, err := process.Resident(s.pid)
		if err != nil {
			return err
		}
		each := float64(after-before) / 1024 / float64(n)
		fmt.Fprintf(w, "%d %s: %.1f KiB of resident memory for each\n", n, kind.name, each)
		f.Add("gale, "+kind.name, 0, each)
	}
	began := time.Now()
	if err := publish(ctx, s.addr); err != nil {
		return err
	}
	took, err := arrivals(append(polls.conns, streams.conns...), began)
	if err != nil {
		return err
	}
	slices.Sort(took)
	fmt.Fprintf(w, "one message reached all %d: p50 %v, last %v\n",
		len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	return nil
}
