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

// candidate is a server in the comparison, with its measurements.
type candidate struct {
	process.Server

	rate []float64       // requests a second, for each turn
	cost []time.Duration // CPU time per request, for each turn
}

func newCandidate(name string, command ...string) *candidate {
	return &candidate{Server: process.Server{Name: name, Command: command}}
}

// candidates returns the servers to compare, each with procs processes.
func candidates(self, dir, upstream string, procs int) []*candidate {
	n := strconv.Itoa(procs)
	return []*candidate{
		// fasthttp's prefork starts a child for each CPU that Go may use.
		newCandidate("fasthttp prefork", "env", "GOMAXPROCS="+n, self, "-peer", "fasthttp", "-addr", "127.0.0.1:PORT", "-upstream", upstream),
		newCandidate("gale", "bin/server", "-port", "PORT", "-admin", "", "-procs", n, "-workers", "0", "-data", dir, "-log-level", "error", "-fetch-url", upstream),
		newCandidate("net/http", "env", "GOMAXPROCS="+n, self, "-peer", "nethttp", "-addr", "127.0.0.1:PORT", "-upstream", upstream),
		newCandidate("Tornado", "/usr/bin/python3", "bench/cost/tornado_app.py", "PORT", n, upstream),
	}
}

// startAll starts all candidates. stopAll must be called, also after an error.
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

// load is the load that wrk generates.
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

// turn runs wrk against the candidate. If there were too few requests to measure, it
// tries again, up to three times, each time twice as long.
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

// run runs wrk once. It returns the number of requests and the rate per second.
func (l load) run(ctx context.Context, addr string) (n int, rate float64, err error) {
	cmd := exec.CommandContext(ctx, "taskset", "-c", l.cpus, "wrk", "-t1", "-c", strconv.Itoa(l.connections),
		"-d", strconv.Itoa(int(l.length.Seconds()))+"s", "--timeout", "10s", "http://"+addr+l.path)
	out, err := cmd.CombinedOutput()
	requests, perSecond := requestsLine.FindSubmatch(out), rateLine.FindSubmatch(out)
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if requests == nil || perSecond == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return 0, 0, fmt.Errorf("unexpected output of wrk:\n%s", out)
	}
	if n, err = strconv.Atoi(string(requests[1])); err != nil {
		return 0, 0, err
	}
	rate, err = strconv.ParseFloat(string(perSecond[1]), 64)
	return n, rate, err
}

// reset drops the measurements.
func (c *candidate) reset() { c.rate, c.cost = nil, nil }

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
