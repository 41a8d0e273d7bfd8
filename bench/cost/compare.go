package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// candidate is a server that takes part.
type candidate struct {
	name    string
	command []string

	url  string
	root *exec.Cmd
	rate []float64       // requests a second, a turn each
	cost []time.Duration // CPU per request
}

// compare gives each candidate its turns and prints what they were.
func compare(ctx context.Context, rounds int, length time.Duration, connections int) error {
	dir, err := os.MkdirTemp("", "gale-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the temporary folder
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all := []*candidate{
		{name: "fasthttp prefork", command: []string{self, "-peer", "fasthttp", "-addr", "127.0.0.1:PORT"}},
		{name: "gale", command: []string{"bin/server", "-port", "PORT", "-admin", "", "-procs", "1", "-workers", "0", "-data", dir, "-log-level", "warn"}},
		{name: "net/http", command: []string{self, "-peer", "nethttp", "-addr", "127.0.0.1:PORT"}},
		{name: "Tornado", command: []string{"/usr/bin/python3", "bench/cost/tornado_hello.py", "PORT"}},
	}
	for _, c := range all {
		if err := c.start(ctx); err != nil {
			return err
		}
		defer c.stop()
	}
	for range rounds {
		for _, c := range all {
			if err := c.turn(ctx, length, connections); err != nil {
				return err
			}
		}
	}
	base := float64(median(all[0].cost))
	fmt.Printf("%-18s %12s %16s %8s\n", "GET /", "requests/s", "CPU per request", "ratio")
	for _, c := range all {
		cost := median(c.cost)
		fmt.Printf("%-18s %12.0f %16v %8.2f\n", c.name, median(c.rate), cost.Round(10*time.Nanosecond), float64(cost)/base)
	}
	return nil
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in`)
	rateLine     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
)

// turn is one run of wrk against the candidate.
func (c *candidate) turn(ctx context.Context, length time.Duration, connections int) error {
	before, err := cpuOf(c.root.Process.Pid)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", "1", "wrk", "-t1", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(int(length.Seconds()))+"s", c.url).CombinedOutput()
	if err != nil {
		return fmt.Errorf("wrk on %s: %w\n%s", c.name, err, out)
	}
	after, err := cpuOf(c.root.Process.Pid)
	if err != nil {
		return err
	}
	requests, rate := requestsLine.FindSubmatch(out), rateLine.FindSubmatch(out)
	if requests == nil || rate == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return fmt.Errorf("wrk on %s says\n%s", c.name, out)
	}
	n, err := strconv.ParseFloat(string(requests[1]), 64)
	if err != nil {
		return err
	}
	perSecond, err := strconv.ParseFloat(string(rate[1]), 64)
	if err != nil {
		return err
	}
	c.rate = append(c.rate, perSecond)
	c.cost = append(c.cost, time.Duration(float64(after-before)/n))
	return nil
}

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
