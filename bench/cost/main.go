// Command cost compares the cost of a request in bin/server, fasthttp's prefork,
// net/http and Tornado: on GET /, /delay and /fetch, and by the number of connections
// and processes. The servers run in turns, so that other work of the machine affects all of
// them. They run on one core and wrk on another, except in the comparison by the number of
// processes, in which all use all cores.
//
//	go run ./bench/cost [-rounds 5] [-time 2s] [-connections 64] [-out FOLDER [-any-load]]
//
// Absolute times on a shared machine vary. Compare the last column, the ratio of CPU
// time per request to fasthttp's prefork.
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
	flag.IntVar(&b.rounds, "rounds", 5, "`number` of turns of each server")
	flag.DurationVar(&b.length, "time", 2*time.Second, "length of a turn, in whole seconds")
	connections := flag.Int("connections", 64, "`number` of connections of wrk for GET /")
	b.out.Flags(flag.CommandLine)
	role := flag.String("peer", "", "run as this `peer`: fasthttp or nethttp")
	addr := flag.String("addr", "127.0.0.1:0", "`address` of the peer")
	upstream := flag.String("upstream", "", "`URL` that /fetch of the peer fetches")
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
