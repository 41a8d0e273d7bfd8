// Command faults injects faults into a running server under load, and prints the number of
// lost and slow requests of its clients. It fails if a number is above its limit.
//
//	go run ./bench/faults [NAME ...]
//
// builds the server, runs it on free ports of 127.0.0.1 in a temporary folder, and ends
// only its own processes. Without names it runs all faults, in about three minutes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// fault is a fault of the server, and its test.
type fault struct {
	name  string
	title string
	run   func(context.Context, *bench) (result, error)
}

var faults = []fault{
	{"kill", "kill -9 of a child every 250 ms, 20 s", killChildren},
	{"stop", "SIGSTOP of a child for 5 s, hang timeout 1 s, ×5", stopChildren},
	{"hup", "HUP every second, 20 times", hupOften},
	{"upgrade", "HUP with a new binary that sends another response", upgrade},
	{"broken", "HUP with a binary that exits 1", exitingBinary},
	{"unready", "HUP with a binary that never becomes ready", unreadyBinary},
	{"config", "HUP with a bad flag in the configuration file", badConfig},
	{"resize", "TTOU and TTIN, 30 cycles", resize},
	{"master", "master killed -9", killMaster},
	{"boot", "a child that crashes at once on boot", crashOnBoot},
	{"balance", "400 held connections, every child killed once", balanceKilled},
	{"rolling", "400 held connections, a reload", balanceReloaded},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, names []string) (err error) {
	for _, name := range names {
		if !slices.ContainsFunc(faults, func(f fault) bool { return f.name == name }) {
			return fmt.Errorf("no fault %q", name)
		}
	}
	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // temporary
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FAULT\tREQUESTS\tLOST BEFORE ACCEPT\tLOST IN FLIGHT\tOVER 100 MS\tELSE\tVERDICT")
	var failed []string
	for _, f := range faults {
		if len(names) > 0 && !slices.Contains(names, f.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), f.title)
		r, err := f.run(ctx, b)
		verdict := "ok"
		if err != nil {
			verdict = "FAILED: " + err.Error()
			failed = append(failed, f.name)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%.2f %%\t%s\t%s\n", f.title, r.requests, r.queued, r.inFlight, r.slow(), r.note, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("limits exceeded: %s", strings.Join(failed, ", "))
	}
	return nil
}
