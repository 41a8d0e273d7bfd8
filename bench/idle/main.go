// Command idle opens many connections to one process and prints the memory for each
// connection: make bench-idle.
//
// First it opens more and more WebSockets to Gale, each with a subscription to a channel. It
// measures the resident memory of the process and the memory of the kernel, the time until a
// message has reached all of them, and the CPU time while they wait. Then it
// measures the resident memory of Gale and of other servers with idle WebSockets, in turns. At
// last it opens long polls and event streams on Gale, measures their memory, and
// the time until one published message has ended every poll and reached every stream.
//
//	go run ./bench/idle -sockets 200000
//
// It raises the limit of open files if it may. Otherwise Gale has several serving processes, and
// several processes of this program hold the connections. They are opened from several
// addresses of the loopback interface.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/galeserver/gale/bench/figure"
)

// command is the command in the results.
const command = "go run ./bench/idle -out bench/results"

// warm is the number of connections that are opened before anything is measured.
const warm = 100

type bench struct {
	sockets  int           // highest number of WebSockets on Gale
	compared int           // number of WebSockets on each server of the comparison
	waiters  int           // number of long polls, and of event streams
	rounds   int           // number of turns of each server
	wait     time.Duration // time during which the CPU time of idle WebSockets is measured
	out      figure.Output
	dir      string // folder of the servers
	files    int    // number of connections that a process can have
}

func main() {
	var b bench
	flag.IntVar(&b.sockets, "sockets", 50_000, "highest `number` of idle WebSockets on Gale")
	flag.IntVar(&b.compared, "compared", 10_000, "`number` of idle WebSockets on each server of the comparison")
	flag.IntVar(&b.waiters, "waiters", 5000, "`number` of long polls, and of event streams")
	flag.IntVar(&b.rounds, "rounds", 3, "`number` of turns of each server")
	flag.DurationVar(&b.wait, "wait", 50*time.Second, "`time` during which the CPU time of idle WebSockets is measured")
	b.out.Flags(flag.CommandLine)
	holding := flag.Bool("hold", false, "run as a process that holds connections and is controlled on standard input")
	first := flag.Int("first", 0, "`number` of the first connection with -hold")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch {
	case *holding:
		err = serveHolder(ctx, *first)
	default:
		if err = b.check(); err == nil {
			err = b.run(ctx, os.Stdout)
		}
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

// check checks the flags and the machine before anything is measured.
func (b *bench) check() error {
	if min(b.sockets, b.compared) < 2 || min(b.waiters, b.rounds) < 1 || b.wait < time.Second {
		return errors.New("-sockets and -compared need at least 2, -waiters and -rounds 1, and -wait 1s")
	}
	if err := b.out.Check(); err != nil {
		return err
	}
	var err error
	if b.files, err = allow(max(b.sockets, b.compared, 2*b.waiters)); err != nil {
		return err
	}
	if need := max(b.compared, 2*b.waiters, spare); b.files < need {
		return fmt.Errorf("one process can have %d connections, -compared and -waiters need %d: raise the limit of open files (ulimit -Hn): %w", b.files, need, errTooLow)
	}
	return nil
}

func (b *bench) run(ctx context.Context, w io.Writer) (err error) {
	if b.dir, err = os.MkdirTemp("", "gale-idle-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	for name, source := range map[string]string{"server": ".", "sockets": "./bench/sockets"} {
		if text, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(b.dir, name), source).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", source, err, text)
		}
	}
	if err := b.growth(ctx, w); err != nil {
		return err
	}
	f := b.out.Begin(fmt.Sprintf("%d idle connections, one process", b.compared), command)
	f.Y = "KiB of resident memory for each"
	if err := b.compare(ctx, w, f); err != nil {
		return err
	}
	if err := waiters(ctx, w, b.dir, b.waiters, f); err != nil {
		return err
	}
	return b.out.Write(f, "idle")
}
