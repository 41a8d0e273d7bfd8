// Command cost compares what a request costs: bin/server beside servers that do
// less for it, on GET /, /delay and /fetch, and by the number of connections and
// of processes. Every server runs on one core and wrk on the other, in turns, so
// that what else the machine does meets all of them; by processes, all have all
// cores.
//
//	go run ./bench/cost [-rounds 3] [-time 2s] [-connections 64] [-out FOLDER [-any-load]]
//
// Times on a shared machine say little; the last column, CPU per request as a
// ratio to fasthttp's own prefork, is what to look at.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	b := bench{}
	flag.IntVar(&b.rounds, "rounds", 3, "turns that each server gets")
	flag.DurationVar(&b.length, "time", 2*time.Second, "length of a turn, in whole seconds")
	connections := flag.Int("connections", 64, "connections of wrk for GET /")
	b.out.Flags(flag.CommandLine)
	role := flag.String("peer", "", "be this peer: fasthttp or nethttp")
	addr := flag.String("addr", "127.0.0.1:0", "address of the peer")
	upstream := flag.String("upstream", "", "what the peer's /fetch fetches")
	flag.Parse()
	var err error
	if *role != "" {
		err = peer(*role, *addr, *upstream)
	} else {
		err = b.main(*connections)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

func (b *bench) main(connections int) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.out.Check(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "gale-cost-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	return b.run(ctx, connections)
}
