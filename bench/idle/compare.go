package main

import (
	"context"
	"fmt"
	"io"

	"github.com/galeserver/gale/bench/figure"
)

// compare measures the memory of idle WebSockets of each server, in turns.
func (b *bench) compare(ctx context.Context, w io.Writer, f *figure.Figure) error {
	fmt.Fprintf(w, "%d idle WebSockets on one process; KiB of resident memory for each\n", b.compared)
	rivals := []struct {
		name  string
		start starter
		open  request
		cost  []float64
	}{
		{name: "gale, WebSockets", start: gale, open: socket},
		{name: "fasthttp/websocket", start: fast, open: socket},
		{name: "Centrifugo, WebSockets", start: startCentrifugo, open: centrifuge},
		{name: "Tornado, WebSockets", start: tornado, open: socket},
	}
	for round := range b.rounds {
		fmt.Fprintf(w, "round %d:", round+1)
		for i := range rivals {
			r := &rivals[i]
			each, err := measure(ctx, b.dir, r.start, b.compared, r.open)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			r.cost = append(r.cost, each)
			fmt.Fprintf(w, "  %s %.1f (%.2f)", r.name, each, each/rivals[0].cost[round])
		}
		fmt.Fprintln(w)
	}
	for _, r := range rivals {
		f.AddRounds(r.name, 0, r.cost)
	}
	return nil
}

// measure returns the memory for each of n idle WebSockets in KiB.
func measure(ctx context.Context, dir string, start starter, n int, r request) (float64, error) {
	s, err := start(ctx, dir)
	defer s.end()
	if err != nil {
		return 0, err
	}
	first, err := hold(ctx, s.addr, min(warm, n), r)
	first.close()
	if err != nil {
		return 0, err
	}
	var before, after memory
	if err := before.read(s.pids); err != nil {
		return 0, err
	}
	h, err := hold(ctx, s.addr, n, r)
	defer h.close()
	if err != nil {
		return 0, err
	}
	if err := settle(ctx, s.pids); err != nil {
		return 0, err
	}
	if err := after.read(s.pids); err != nil {
		return 0, err
	}
	_, err = h.state()
	return kib(after.server-before.server, n), err
}
