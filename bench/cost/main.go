// Command bench compares what a request costs: GET / of bin/server beside
// servers that do less for it. Every server runs on one core and wrk on the
// other, in turns, so that what else the machine does meets all of them.
//
//	go run ./bench/cost [-rounds 5] [-time 3s] [-connections 64]
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

func main() { os.Exit(run()) }

func run() int {
	rounds := flag.Int("rounds", 5, "turns that each server gets")
	length := flag.Duration("time", 3*time.Second, "length of a turn")
	connections := flag.Int("connections", 64, "connections of wrk")
	role := flag.String("peer", "", "be this peer: fasthttp or nethttp")
	addr := flag.String("addr", "127.0.0.1:0", "address of the peer")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *role != "" {
		err = peer(*role, *addr)
	} else {
		err = compare(ctx, *rounds, *length, *connections)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}
