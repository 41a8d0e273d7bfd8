// Command sockets compares the cost of WebSocket messages in a server: of an echo, and
// of a broadcast by the number of clients. Gale sends a broadcast through the embedded
// state server and keeps it in a history. fasthttp's WebSocket library and Tornado send
// it within one process. Centrifugo sends it with its engine in memory, on a channel without
// and on one with a history; it has no echo.
//
//	go run ./bench/sockets [-rounds 5] [-time 1.5s] [-out FOLDER [-any-load]]
//
// It compares the CPU time of the server and its children per message.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

const command = "go run ./bench/sockets -out bench/results"

// echoing is the number of clients of the echo.
const echoing = 200

type bench struct {
	out    figure.Output
	rounds int
	length time.Duration
}

func main() {
	b := bench{}
	flag.IntVar(&b.rounds, "rounds", 5, "`number` of turns of each server")
	flag.DurationVar(&b.length, "time", 1500*time.Millisecond, "length of a turn")
	b.out.Flags(flag.CommandLine)
	addr := flag.String("peer", "", "run as the peer on fasthttp at this `address`")
	flag.Parse()
	var err error
	if *addr != "" {
		err = peer(*addr)
	} else {
		err = b.main()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sockets:", err)
		os.Exit(1)
	}
}

func (b *bench) main() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.out.Check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gale-sockets-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all, err := candidates(self, dir)
	if err != nil {
		return err
	}
	for _, c := range all {
		defer c.Stop()
		if err := c.Start(ctx, "0"); err != nil {
			return err
		}
	}
	if err := b.echo(ctx, all); err != nil {
		return err
	}
	return b.broadcast(ctx, all)
}

func (b *bench) echo(ctx context.Context, all []*candidate) error {
	f := b.out.Begin(fmt.Sprintf("WebSocket echo, %d clients", echoing), command)
	f.Y = "CPU per message, µs"
	all = slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c.channel != "" })
	err := b.turns(ctx, all, "/websocket", echoing, clients.echo)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %16s %8s\n", "echo", "CPU per message", "ratio")
	var base time.Duration
	for i, c := range all {
		rounds, cost := c.take()
		if i == 0 {
			base = cost
		}
		fmt.Printf("%-28s %16v %8.2f\n", c.Name, cost.Round(10*time.Nanosecond), float64(cost)/float64(base))
		f.AddRounds(c.Name, 0, figure.Micros(rounds))
	}
	return b.out.Write(f, "echo")
}

func (b *bench) broadcast(ctx context.Context, all []*candidate) error {
	f := b.out.Begin("WebSocket broadcast, by number of clients", command)
	f.X, f.Y, f.Log = "clients", "CPU per delivery, µs", true
	for _, n := range []int{10, 100, 1000} {
		if err := b.turns(ctx, all, "/broadcast", n, clients.broadcast); err != nil {
			return err
		}
		fmt.Printf("broadcast to %4d:", n)
		var base time.Duration
		for i, c := range all {
			rounds, cost := c.take()
			if i == 0 {
				base = cost
			}
			fmt.Printf("  %s %v (%.2f)", c.Name, cost.Round(10*time.Nanosecond), float64(cost)/float64(base))
			f.AddRounds(c.Name, float64(n), figure.Micros(rounds))
		}
		fmt.Println()
	}
	return b.out.Write(f, "broadcast")
}

// turns runs all rounds. In a round each server has one turn with n clients.
func (b *bench) turns(ctx context.Context, all []*candidate, path string, n int, work func(clients, time.Duration) (int, error)) error {
	for range b.rounds {
		for _, c := range all {
			conns, err := c.dial(ctx, path, n)
			if err == nil {
				err = c.measure(func() (int, error) { return work(conns, b.length) })
			}
			conns.close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}
