package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/bench/process"
)

// candidate is a server that takes part, and what it was found to cost.
type candidate struct {
	process.Server

	rate []float64       // requests a second, a turn each
	cost []time.Duration // CPU per request
}

func newCandidate(name string, command ...string) *candidate {
	return &candidate{Server: process.Server{Name: name, Command: command}}
}

// field makes the servers that are compared, each with so many processes.
func field(self, dir, upstream string, procs int) []*candidate {
	n := strconv.Itoa(procs)
	return []*candidate{
		// fasthttp's prefork starts a child for each CPU that Go may use.
		newCandidate("fasthttp prefork", "env", "GOMAXPROCS="+n, self, "-peer", "fasthttp", "-addr", "127.0.0.1:PORT", "-upstream", upstream),
		newCandidate("gale", "bin/server", "-port", "PORT", "-admin", "", "-procs", n, "-workers", "0", "-data", dir, "-log-level", "error", "-fetch-url", upstream),
		newCandidate("net/http", "env", "GOMAXPROCS="+n, self, "-peer", "nethttp", "-addr", "127.0.0.1:PORT", "-upstream", upstream),
		newCandidate("Tornado", "/usr/bin/python3", "bench/cost/tornado_app.py", "PORT", n, upstream),
	}
}

// startAll starts candidates; stopAll ends those that were started.
func startAll(ctx context.Context, all []*candidate, cpus string) error {
	for _, c := range all {
		if err := c.Start(ctx, cpus); err != nil {
			return err
		}
	}
	return nil
}

func stopAll(all []*candidate) {
	for _, c := range all {
		c.Stop()
	}
}

// load is what wrk does.
type load struct {
	path        string
	connections int
	length      time.Duration
	cpus        string
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in`)
	rateLine     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
)

// turn is one run of wrk against the candidate, or several, each twice as long,
// where a busy machine let it do too little.
func (c *candidate) turn(ctx context.Context, l load) error {
	for tries := 3; ; tries-- {
		var rate float64
		cost, err := c.Cost(func() (n int, err error) {
			n, rate, err = l.run(ctx, c.Addr)
			return n, err
		})
		if err == nil {
			c.rate, c.cost = append(c.rate, rate), append(c.cost, cost)
		}
		if tries == 1 || !errors.Is(err, process.ErrTooLittle) {
			return err
		}
		l.length *= 2
	}
}

// run is a run of wrk: how many requests were answered, and how many a second.
func (l load) run(ctx context.Context, addr string) (n int, rate float64, err error) {
	cmd := exec.CommandContext(ctx, "taskset", "-c", l.cpus, "wrk", "-t1", "-c", strconv.Itoa(l.connections),
		"-d", strconv.Itoa(int(l.length.Seconds()))+"s", "--timeout", "10s", "http://"+addr+l.path)
	out, err := cmd.CombinedOutput()
	requests, perSecond := requestsLine.FindSubmatch(out), rateLine.FindSubmatch(out)
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if requests == nil || perSecond == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return 0, 0, fmt.Errorf("wrk says\n%s", out)
	}
	if n, err = strconv.Atoi(string(requests[1])); err != nil {
		return 0, 0, err
	}
	rate, err = strconv.ParseFloat(string(perSecond[1]), 64)
	return n, rate, err
}

// forget drops what was measured.
func (c *candidate) forget() { c.rate, c.cost = nil, nil }

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
