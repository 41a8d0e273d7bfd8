package main

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/galeserver/gale/bench/centrifugo"
	"github.com/galeserver/gale/bench/process"
)

// candidate is a server in the comparison.
type candidate struct {
	process.Server
	channel string          // channel of the broadcast in Centrifugo; empty for other servers
	cost    []time.Duration // CPU time per message or delivery, for each turn
}

func newCandidate(name string, command ...string) *candidate {
	return &candidate{Server: process.Server{Name: name, Command: command}}
}

// candidates returns the servers to compare. The second Gale has two processes, so each
// broadcast is sent between processes.
func candidates(self, dir string) ([]*candidate, error) {
	gale := func(name, procs string) *candidate {
		return newCandidate(name, "bin/server", "-port", "PORT", "-admin", "", "-procs", procs, "-workers", "0", "-data", filepath.Join(dir, procs), "-log-level", "error")
	}
	command, err := centrifugo.Command(dir)
	if err != nil {
		return nil, err
	}
	plain, kept := newCandidate("Centrifugo", command...), newCandidate("Centrifugo, history and recovery", command...)
	plain.channel, kept.channel = centrifugo.Broadcast, centrifugo.Kept
	return []*candidate{
		newCandidate("fasthttp/websocket", self, "-peer", "127.0.0.1:PORT"),
		gale("gale", "1"),
		gale("gale, 2 processes", "2"),
		plain,
		kept,
		newCandidate("Tornado", "/usr/bin/python3", "bench/sockets/tornado_sockets.py", "PORT"),
	}, nil
}

// measure adds the cost of each message of work.
func (c *candidate) measure(work func() (int, error)) error {
	cost, err := c.Cost(work)
	c.cost = append(c.cost, cost)
	return err
}

// take returns and drops the measurements, sorted, and their median.
func (c *candidate) take() (rounds []time.Duration, median time.Duration) {
	slices.Sort(c.cost)
	rounds, c.cost = c.cost, nil
	return rounds, rounds[len(rounds)/2]
}
