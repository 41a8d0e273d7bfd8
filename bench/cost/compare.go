package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

// command is the command that measures the figures.
const command = "go run ./bench/cost -out bench/results"

// bench holds the settings of a run.
type bench struct {
	self   string // path of this program, which is also run as the peers
	dir    string // data folder of Gale
	out    figure.Output
	rounds int           // turns of each server
	length time.Duration // length of a turn
}

// comparison is a figure of all servers with one process each.
type comparison struct {
	name, title string
	load
	rates bool // whether the figure shows requests a second; else it shows CPU time per request
}

// waits is the duration of /delay and of the upstream of /fetch, in seconds.
const waits = "0.1"

func comparisons(length time.Duration, connections int) []comparison {
	on := func(path string, n int) load {
		return load{path: path, connections: n, length: length, cpus: "1"}
	}
	return []comparison{
		{name: "root", title: "GET /", load: on("/", connections)},
		{name: "delay", title: "GET /delay, 256 concurrent requests that wait 100 ms", load: on("/delay?s="+waits, 256)},
		{name: "fetch", title: "GET /fetch, 100 concurrent requests, upstream takes 100 ms", load: on("/fetch", 100), rates: true},
	}
}

// run measures and prints all figures.
func (b *bench) run(ctx context.Context, connections int) error {
	upstream := newCandidate("upstream", b.self, "-peer", "nethttp", "-addr", "127.0.0.1:PORT")
	defer upstream.Stop()
	if err := upstream.Start(ctx, "1"); err != nil {
		return err
	}
	url := "http://" + upstream.Addr + "/delay?s=" + waits
	if err := b.oneProcess(ctx, url, connections); err != nil {
		return err
	}
	return b.processes(ctx, url)
}

// oneProcess compares the servers with one process each, on the first CPU, also by the
// number of connections.
func (b *bench) oneProcess(ctx context.Context, upstream string, connections int) error {
	all := candidates(b.self, b.dir, upstream, 1)
	defer stopAll(all)
	if err := startAll(ctx, all, "0"); err != nil {
		return err
	}
	for _, c := range comparisons(b.length, connections) {
		if err := b.compare(ctx, all, c); err != nil {
			return err
		}
	}
	return b.connections(ctx, all)
}

// compare runs the turns of each candidate and prints the results.
func (b *bench) compare(ctx context.Context, all []*candidate, c comparison) error {
	f := b.out.Begin(c.title, command)
	f.Y = "CPU per request, µs"
	if c.rates {
		f.Y = "requests a second"
	}
	if err := b.turns(ctx, all, c.load); err != nil {
		return err
	}
	base := float64(median(all[0].cost))
	fmt.Printf("%-55s %12s %16s %8s\n", c.title, "requests/s", "CPU per request", "ratio")
	for _, one := range all {
		rate, cost := median(one.rate), median(one.cost)
		fmt.Printf("%-55s %12.0f %16v %8.2f   %v to %v\n", one.Name, rate, cost.Round(10*time.Nanosecond), float64(cost)/base,
			slices.Min(one.cost).Round(10*time.Nanosecond), slices.Max(one.cost).Round(10*time.Nanosecond))
		if c.rates {
			f.AddRounds(one.Name, 0, one.rate)
		} else {
			f.AddRounds(one.Name, 0, figure.Micros(one.cost))
		}
	}
	return b.out.Write(f, c.name)
}

// turns runs all rounds. In a round each candidate has one turn, so that other work of
// the machine affects all of them.
func (b *bench) turns(ctx context.Context, all []*candidate, l load) error {
	for _, c := range all {
		c.reset()
	}
	for range b.rounds {
		for _, c := range all {
			if err := c.turn(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// shortTurn is the length of a turn in a series, in whole seconds: wrk takes no
// fractions.
func (b *bench) shortTurn() time.Duration {
	return max((b.length / 2).Truncate(time.Second), time.Second)
}

// connections measures the cost of GET / by the number of connections.
func (b *bench) connections(ctx context.Context, all []*candidate) error {
	f := b.out.Begin("GET / by the number of connections, one process", command)
	f.X, f.Y, f.Log = "connections", "CPU per request, µs", true
	for _, n := range []int{1, 16, 64, 256, 1024} {
		if err := b.turns(ctx, all, load{path: "/", connections: n, length: b.shortTurn(), cpus: "1"}); err != nil {
			return err
		}
		b.addLine(f, all, n, "connections")
	}
	return b.out.Write(f, "connections")
}

// processes measures the cost of GET / by the number of processes. They and wrk use all
// CPUs.
func (b *bench) processes(ctx context.Context, upstream string) error {
	f := b.out.Begin("GET / by the number of processes, 64 connections", command)
	f.X, f.Y, f.Log = "processes", "CPU per request, µs", true
	for _, n := range []int{1, 2, 4, 8} {
		if err := b.withProcesses(ctx, f, upstream, n); err != nil {
			return err
		}
	}
	return b.out.Write(f, "processes")
}

func (b *bench) withProcesses(ctx context.Context, f *figure.Figure, upstream string, n int) error {
	var all []*candidate
	for _, c := range candidates(b.self, b.dir, upstream, n) {
		if c.Name != "net/http" { // it has only one process
			all = append(all, c)
		}
	}
	defer stopAll(all)
	if err := startAll(ctx, all, everyCPU); err != nil {
		return err
	}
	if err := b.turns(ctx, all, load{path: "/", connections: 64, length: b.shortTurn(), cpus: everyCPU}); err != nil {
		return err
	}
	b.addLine(f, all, n, "processes")
	return nil
}

// everyCPU are all CPUs in the form of taskset.
const everyCPU = "0-1023"

// addLine prints the costs of the candidates for one X of a figure and adds them.
func (b *bench) addLine(f *figure.Figure, all []*candidate, x int, what string) {
	fmt.Printf("%5d %-12s", x, what)
	for _, c := range all {
		cost := median(c.cost)
		fmt.Printf("  %s %v (%.2f)", c.Name, cost.Round(10*time.Nanosecond), float64(cost)/float64(median(all[0].cost)))
		f.AddRounds(c.Name, float64(x), figure.Micros(c.cost))
	}
	fmt.Fprintln(os.Stdout)
}
