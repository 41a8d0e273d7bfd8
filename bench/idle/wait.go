package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

const news = "New data available!"

// waiters measures long polls and event streams.
func waiters(ctx context.Context, w io.Writer, dir string, n int, f *figure.Figure) error {
	s, err := gale(ctx, dir)
	defer s.end()
	if err != nil {
		return err
	}
	var all []*conn
	for _, kind := range []struct {
		name string
		open request
	}{{"long polls", poll}, {"event streams", stream}} {
		var before, after memory
		if err := before.read(s.pids); err != nil {
			return err
		}
		h, err := hold(ctx, s.addr, n, kind.open)
		defer h.close()
		all = append(all, h.conns...)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		if err := after.read(s.pids); err != nil {
			return err
		}
		each := kib(after.server-before.server, n)
		fmt.Fprintf(w, "%d %s: %.1f KiB of resident memory for each\n", n, kind.name, each)
		f.Add("gale, "+kind.name, 0, each)
	}
	began := time.Now()
	if err := publish(ctx, s.addr); err != nil {
		return err
	}
	took, err := arrivals(all, began)
	if err != nil {
		return err
	}
	slices.Sort(took)
	f.Note(w, "One message reached all %d long polls and event streams: p50 %v, last %v.",
		len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	return nil
}

// arrivals returns the time from began until each connection received the message.
func arrivals(conns []*conn, began time.Time) ([]time.Duration, error) {
	took, faults := make([]time.Duration, len(conns)), make([]error, len(conns))
	var reading sync.WaitGroup
	for i, c := range conns {
		reading.Go(func() { // ends with the message or an error
			_, faults[i] = await(c, news)
			took[i] = time.Since(began)
		})
	}
	reading.Wait()
	for _, err := range faults {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// publish publishes the message that all connections wait for.
func publish(ctx context.Context, addr string) error {
	h, err := hold(ctx, addr, 1, request{
		text: "POST /publish/news HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: " + fmt.Sprint(len(news)) + "\r\n\r\n" + news,
		want: `"seq":`,
	})
	h.close()
	return err
}
