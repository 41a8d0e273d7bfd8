// Command console prints the CPU time of a server, idle and with open pages of the console:
// go run ./bench/console.
//
// It starts bin/server with one serving process and one worker, waits until the server is
// idle, and reads the CPU time of the server and its children from /proc/PID/stat, first
// without a page and then with the pages open.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/bench/process"
)

// settle is the waiting time before each measurement.
const settle = 5 * time.Second

func main() {
	program := flag.String("server", "bin/server", "`file` of the server")
	pages := flag.Int("pages", 50, "`number` of open pages")
	period := flag.Duration("for", 30*time.Second, "`duration` of each measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *program, *pages, *period)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, program string, pages int, period time.Duration) error {
	dir, err := os.MkdirTemp("", "gale-console-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	port, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	admin, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := process.Begin(ctx, port, program, "-port", port, "-admin", "127.0.0.1:"+admin, "-procs", "1", "-workers", "1", "-data", dir, "-log-level", "warn")
	if cmd != nil {
		defer func() { _ = cmd.Wait() }() // was sent TERM
	}
	defer cancel()
	if err != nil {
		return err
	}
	idle, err := share(ctx, cmd.Process.Pid, period)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "idle: %.2f %% of a core\n", idle)
	conns, received, err := open(ctx, "ws://127.0.0.1:"+port+"/console/live", pages)
	defer conns.close()
	if err != nil {
		return err
	}
	busy, err := share(ctx, cmd.Process.Pid, period)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d pages: %.2f %% of a core, %.2f %% more; %d messages received\n", pages, busy, busy-idle, received())
	return nil
}

// share returns the CPU time of a process and its descendants during a period, in percent of
// a core.
func share(ctx context.Context, pid int, period time.Duration) (float64, error) {
	if err := wait(ctx, settle); err != nil {
		return 0, err
	}
	before, err := process.CPU(pid)
	began := time.Now()
	if err := errors.Join(err, wait(ctx, period)); err != nil {
		return 0, err
	}
	after, err := process.CPU(pid)
	return 100 * (after - before).Seconds() / time.Since(began).Seconds(), err
}

func wait(ctx context.Context, period time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(period):
		return nil
	}
}

// sockets are the WebSockets of open pages.
type sockets struct {
	conns   []*websocket.Conn
	reading sync.WaitGroup
}

func (s *sockets) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.reading.Wait()
}

// open opens WebSockets and reads their messages. received returns how many have arrived.
func open(ctx context.Context, url string, n int) (s *sockets, received func() int, err error) {
	s = &sockets{}
	var mu sync.Mutex
	count := 0
	received = func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
	for range n {
		c, resp, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
		if err != nil {
			return s, received, err
		}
		_ = resp.Body.Close() // has no body
		s.conns = append(s.conns, c)
		s.reading.Go(func() { // ends with close
			for {
				if _, _, err := c.ReadMessage(); err != nil {
					return
				}
				mu.Lock()
				count++
				mu.Unlock()
			}
		})
	}
	return s, received, nil
}
