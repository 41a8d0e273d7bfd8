package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

// command is what measures the figures again.
const command = "go run ./bench/cost -out bench/results"

// bench is a run of the program.
type bench struct {
	self   string // path of this program, which is also the peers
	dir    string // data folder of Gale
	out    figure.Output
	rounds int           // turns of each server
	length time.Duration // length of a turn
}

// comparison is one figure of all servers with one process each.
type comparison struct {
	name, title string
	load
	rates bool // the figure is of requests a second; else of CPU per request
}

// waits is how long /delay and the server behind /fetch take.
const waits = "0.1"

func comparisons(length time.Duration, connections int) []comparison {
	on := func(path string, n int) load {
		return load{path: path, connections: n, length: length, cpus: "1"}
	}
	return []comparison{
		{name: "root", title: "GET /", load: on("/", connections)},
		{name: "delay", title: "GET /delay, 256 at once wait for 100 ms", load: on("/delay?s="+waits, 256)},
		{name: "fetch", title: "GET /fetch, 100 at once from a server that takes 100 ms", load: on("/fetch", 100), rates: true},
	}
}

// run measures and prints all there is.
func (b *bench) run(ctx context.Context, connections int) error {
	upstream := newCandidate("upstream", b.self, "-peer", "nethttp", "-addr", "127.0.0.1:PORT")
	defer upstream.Stop()
	if err := upstream.Start(ctx, "1"); err != nil {
		return err
	}
	url := "http://" + upstream.Addr + "/delay?s=" + waits
	if err := b.side(ctx, url, connections); err != nil {
		return err
	}
	return b.processes(ctx, url)
}

// side compares the servers side by side, each with one process on the first
// CPU, and how each of them grows with connections.
func (b *bench) side(ctx context.Context, upstream string, connections int) error {
	all := field(b.self, b.dir, upstream, 1)
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

// compare gives each candidate its turns and prints what they were.
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
		fmt.Printf("%-55s %12.0f %16v %8.2f\n", one.Name, rate, cost.Round(10*time.Nanosecond), float64(cost)/base)
		if c.rates {
			f.Add(one.Name, 0, rate)
		} else {
			f.Add(one.Name, 0, micro(cost))
		}
	}
	return b.out.Write(f, c.name)
}

// turns gives every candidate its rounds, all of them one after the other, so
// that what else the machine does meets each.
func (b *bench) turns(ctx context.Context, all []*candidate, l load) error {
	for _, c := range all {
		c.forget()
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

// short is the length of a turn where there are many, in whole seconds as wrk
// has it.
func (b *bench) short() time.Duration { return max((b.length / 2).Truncate(time.Second), time.Second) }

// connections shows how the cost of GET / grows with connections.
func (b *bench) connections(ctx context.Context, all []*candidate) error {
	f := b.out.Begin("GET / by the number of connections, one process", command)
	f.X, f.Y, f.Log = "connections", "CPU per request, µs", true
	for _, n := range []int{1, 16, 64, 256, 1024} {
		if err := b.turns(ctx, all, load{path: "/", connections: n, length: b.short(), cpus: "1"}); err != nil {
			return err
		}
		b.line(f, all, n, "connections")
	}
	return b.out.Write(f, "connections")
}

// processes shows how it grows with processes, which have all CPUs, as wrk has.
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
	for _, c := range field(b.self, b.dir, upstream, n) {
		if c.Name != "net/http" { // which has one process only
			all = append(all, c)
		}
	}
	defer stopAll(all)
	if err := startAll(ctx, all, everyCPU); err != nil {
		return err
	}
	if err := b.turns(ctx, all, load{path: "/", connections: 64, length: b.short(), cpus: everyCPU}); err != nil {
		return err
	}
	b.line(f, all, n, "processes")
	return nil
}

// everyCPU is all CPUs that there are, as taskset names them.
const everyCPU = "0-1023"

// line prints what the candidates were at one place of a figure, and adds it.
func (b *bench) line(f *figure.Figure, all []*candidate, x int, what string) {
	fmt.Printf("%5d %-12s", x, what)
	for _, c := range all {
		cost := median(c.cost)
		fmt.Printf("  %s %v (%.2f)", c.Name, cost.Round(10*time.Nanosecond), float64(cost)/float64(median(all[0].cost)))
		f.Add(c.Name, float64(x), micro(cost))
	}
	fmt.Fprintln(os.Stdout)
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
