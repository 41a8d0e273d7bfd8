package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/galeserver/gale/bench/figure"
	"github.com/galeserver/gale/bench/process"
)

// numbers returns the numbers of connections at which growth is measured.
func numbers(most int) (all []int) {
	for _, n := range []int{10_000, 50_000, 100_000, 200_000, 500_000} {
		if n < most {
			all = append(all, n)
		}
	}
	return append(all, most)
}

// memory is the memory of the processes of a server and of the kernel, in bytes.
type memory struct{ server, kernel int64 }

func (m *memory) read(pids []int) (err error) {
	for _, pid := range pids {
		each, err := process.Resident(pid)
		if err != nil {
			return err
		}
		m.server += each
	}
	m.kernel, err = process.Kernel()
	return err
}

// growth opens more and more WebSockets to Gale, each with a subscription. It measures their
// memory and the time of a broadcast, and at the end the CPU time while they wait.
func (b *bench) growth(ctx context.Context, w io.Writer) error {
	procs := serving(b.sockets, b.files)
	command := fmt.Sprintf("go run ./bench/idle -sockets %d -out bench/results", b.sockets)
	f := b.out.Begin(fmt.Sprintf("Memory of idle WebSockets with a subscription, serving processes: %d", procs), command)
	f.X, f.Y = "connections", "KiB of memory for each"
	s, err := beginGale(ctx, b.dir, procs)
	defer s.end()
	if err != nil {
		return err
	}
	publisher, err := hold(ctx, s.addr, 1, listener)
	defer publisher.close()
	if err != nil {
		return err
	}
	all, err := startHolders(ctx, b.sockets, b.files)
	defer all.stop()
	if err != nil {
		return err
	}
	first := min(warm*procs, b.sockets/2)
	if err := all.grow(s.addr, first); err != nil {
		return err
	}
	var before memory
	if err := before.read(s.pids); err != nil {
		return err
	}
	for _, n := range numbers(b.sockets) {
		began := time.Now()
		if err := all.grow(s.addr, n); err != nil {
			return err
		}
		opened := time.Since(began)
		if err := settle(ctx, s.pids); err != nil {
			return err
		}
		var now memory
		if err := now.read(s.pids); err != nil {
			return err
		}
		server := kib(now.server-before.server, n-first)
		// Both ends of a connection are on this machine, and both are in an epoll set twice:
		// in that of the Go runtime, and in one more.
		kernel := kib(now.kernel-before.kernel, n-first) / 2
		fmt.Fprintf(w, "%d WebSockets, opened in %v: %.2f KiB of the processes and %.2f KiB of the kernel for each\n", n, opened.Round(time.Millisecond), server, kernel)
		f.Add("gale, the processes", float64(n), server)
		f.Add("the kernel, for this side", float64(n), kernel)
		took, err := all.broadcast(news, func() error { return publisher.conns[0].send(opText, []byte(news)) })
		if err != nil {
			return err
		}
		f.Note(w, "One message reached all %d: p50 %v, last %v.", n, took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	}
	if err := b.waiting(ctx, w, all, s.pids, f); err != nil {
		return err
	}
	return b.out.Write(f, "idle-growth")
}

// serving returns the number of processes of Gale for a number of connections, of which each can
// have a limited number. The kernel distributes connections at random, so with several processes
// each has room for a quarter more than its part.
func serving(n, each int) int {
	if n <= each {
		return 1
	}
	part := each * 4 / 5
	return (n + part - 1) / part
}

// waiting measures the CPU time of the server while the connections wait.
func (b *bench) waiting(ctx context.Context, w io.Writer, all *holders, pids []int, f *figure.Figure) error {
	pings, err := all.pings()
	if err != nil {
		return err
	}
	before, err := used(pids)
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.wait); err != nil {
		return err
	}
	after, err := used(pids)
	if err != nil {
		return err
	}
	total, err := all.pings()
	if err != nil {
		return err
	}
	f.Note(w, "While %d waited for %v, the processes used %.2f %% of a core; the clients responded to %d pings.",
		b.sockets, b.wait, 100*float64(after-before)/float64(b.wait), total-pings)
	return nil
}

// used returns the CPU time of the processes.
func used(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		each, err := process.Used(pid)
		if err != nil {
			return 0, err
		}
		total += each
	}
	return total, nil
}

// kib returns the memory of each connection in KiB.
func kib(bytes int64, n int) float64 { return float64(bytes) / 1024 / float64(n) }

// settle waits until the memory of the processes does not fall any more: a server may release
// what the handshakes needed.
func settle(ctx context.Context, pids []int) error {
	var seen []int64 // one value a second
	for len(seen) < 30 {
		var now memory
		if err := now.read(pids); err != nil {
			return err
		}
		if seen = append(seen, now.server); len(seen) > 3 && slices.Max(seen[len(seen)-4:])-now.server < now.server/100 {
			return nil
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
