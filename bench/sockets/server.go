package main

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/galeserver/gale/bench/process"
)

// candidate is a server that takes part.
type candidate struct {
	process.Server
	cost []time.Duration // CPU for a message, or for a delivery
}

func newCandidate(name string, command ...string) *candidate {
	return &candidate{Server: process.Server{Name: name, Command: command}}
}

// field makes the servers that are compared. The second Gale has two processes:
// what one client says to all has to reach the other.
func field(self, dir string) []*candidate {
	gale := func(name, procs string) *candidate {
		return newCandidate(name, "bin/server", "-port", "PORT", "-admin", "", "-procs", procs, "-workers", "0", "-data", filepath.Join(dir, procs), "-log-level", "error")
	}
	return []*candidate{
		newCandidate("fasthttp/websocket", self, "-peer", "127.0.0.1:PORT"),
		gale("gale", "1"),
		gale("gale, 2 processes", "2"),
		newCandidate("Tornado", "/usr/bin/python3", "bench/sockets/tornado_sockets.py", "PORT"),
	}
}

// measure notes what each of the messages that work counts cost the server.
func (c *candidate) measure(work func() (int, error)) error {
	cost, err := c.Cost(work)
	c.cost = append(c.cost, cost)
	return err
}

// median is the median of what was noted, which is forgotten.
func (c *candidate) median() time.Duration {
	slices.Sort(c.cost)
	m := c.cost[len(c.cost)/2]
	c.cost = nil
	return m
}
