package main

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// probePause is the pause between two requests of a probe.
const probePause = 5 * time.Millisecond

// probe sends GET / again and again on one connection until ctx or the time ends, and returns
// the latencies, sorted.
func probe(ctx context.Context, addr string, until <-chan struct{}) (latencies []time.Duration, err error) {
	c := &conn{addr: addr}
	defer c.close()
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for {
		began := time.Now()
		if _, err := c.do(ctx, request{method: http.MethodGet, target: "/"}, nil); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(began))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-until:
			slices.Sort(latencies)
			return latencies, nil
		case <-tick.C:
		}
	}
}

// quantile returns a quantile of sorted latencies in milliseconds.
func quantile(latencies []time.Duration, q float64) float64 {
	return float64(latencies[int(q*float64(len(latencies)-1))].Microseconds()) / 1000
}
