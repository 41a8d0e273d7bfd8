package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/bench/process"
)

// roleKey is the environment variable with the role of a process: "work", "schedule",
// "enqueue", or "both", which is a worker that also enqueues. Its arguments are the
// name of a program, the address of its store, and for a worker or "enqueue" the number of
// tasks.
const roleKey = "PEERS_ROLE"

// timesOf are the times at which a worker ran its tasks, as Unix times in microseconds.
type timesOf struct {
	First, Last int64   // start of the first and of the last task
	Latencies   []int64 // of each task, from the scheduled time to the start
}

func (t timesOf) add(at, now int64) timesOf {
	if t.First == 0 {
		t.First = now
	}
	t.Last = now
	t.Latencies = append(t.Latencies, now-at)
	return t
}

// rate returns the tasks per second from the start of the first task to that of the last.
func (t timesOf) rate() float64 { return t.since(t.First) }

// since returns the tasks per second from a time to the start of the last task.
func (t timesOf) since(began int64) float64 {
	return float64(len(t.Latencies)) / (float64(t.Last-began) / 1e6)
}

// connection is a task queue in one process.
type connection struct {
	enqueue func(ctx context.Context, at int64) error
	work    func(ctx context.Context) error // runs tasks until ctx ends
	close   func() error
}

// opened is a program that is written in Go. connect opens the store; run is called at the
// start of each task with its scheduled time.
type opened func(ctx context.Context, address string, run func(at int64)) (*connection, error)

// inRole runs this process in a role, prints "ready", and a worker its times as JSON.
func inRole(role string, args []string) error {
	ctx := context.Background()
	connect, known := inGo[args[0]]
	if !known {
		return fmt.Errorf("unknown program %q", args[0])
	}
	n := 0
	if len(args) > 2 {
		var err error
		if n, err = strconv.Atoi(args[2]); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var times timesOf
	all := make(chan struct{})
	c, err := connect(ctx, args[1], func(at int64) {
		now := time.Now().UnixMicro()
		mu.Lock()
		defer mu.Unlock()
		if times = times.add(at, now); len(times.Latencies) == n {
			close(all)
		}
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	switch role {
	case "enqueue":
		return errors.Join(enqueueAll(ctx, c, n), c.close())
	case "schedule":
		return errors.Join(enqueueLines(ctx, c), c.close())
	}
	// The parent kills a worker when it has its times.
	failed := make(chan error, 2)
	go func() { failed <- c.work(ctx) }()
	if role == "both" {
		go func() {
			if err := enqueueLines(ctx, c); err != nil {
				failed <- err
			}
		}()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("worker ended early: %w", err)
	case <-all:
	}
	mu.Lock()
	defer mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(times)
}

// enqueueAll enqueues n tasks as fast as it can.
func enqueueAll(ctx context.Context, c *connection, n int) error {
	return together(n, func(int) error { return c.enqueue(ctx, time.Now().UnixMicro()) })
}

// enqueueLines enqueues a task for each line of stdin, the scheduled time of the task. It does
// not wait for earlier tasks.
func enqueueLines(ctx context.Context, c *connection) error {
	var all sync.WaitGroup
	defer all.Wait()
	failed := make(chan error, 1)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		at, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			return err
		}
		all.Go(func() {
			if err := c.enqueue(ctx, at); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return lines.Err()
	}
}

// child is a process in a role.
type child struct {
	cmd   *exec.Cmd
	name  string
	stdin io.WriteCloser
	lines *bufio.Reader
}

// startChild starts a process and waits until it prints "ready".
func startChild(b *testing.B, dir string, env []string, command string, args ...string) *child {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), command, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &child{cmd: cmd, name: strings.Join(args, " "), stdin: stdin, lines: bufio.NewReader(stdout)}
	b.Cleanup(func() {
		if cmd.ProcessState == nil { // after an error
			c.kill()
		}
	})
	if line := c.line(b); line != "ready" {
		b.Fatalf("%s printed %q", c.name, line)
	}
	return c
}

// line returns the next line that the process prints.
func (c *child) line(b *testing.B) string {
	b.Helper()
	late := time.AfterFunc(2*time.Minute, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		b.Fatalf("%s ended, or printed nothing for two minutes: %v", c.name, err)
	}
	return strings.TrimSpace(line)
}

// times returns the times of a worker when it has run its tasks, and kills it.
func (c *child) times(b *testing.B) (t timesOf) {
	b.Helper()
	line := c.line(b)
	c.kill()
	if err := json.Unmarshal([]byte(line), &t); err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
	return t
}

func (c *child) kill() {
	process.Kill(c.cmd.Process.Pid)
	_ = c.cmd.Wait() // was killed
}

// end waits for a producer.
func (c *child) end(b *testing.B) {
	b.Helper()
	if err := errors.Join(c.stdin.Close(), c.cmd.Wait()); err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
}

// schedule writes n scheduled times at a constant rate to the stdin of a producer, each when
// it has come. If the producer is too slow, the times do not change.
func (c *child) schedule(b *testing.B, rate float64, n int) {
	b.Helper()
	began := time.Now()
	for i := range n {
		at := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(at); wait > 0 {
			time.Sleep(wait)
		}
		if _, err := fmt.Fprintln(c.stdin, at.UnixMicro()); err != nil {
			b.Fatalf("%s: %v", c.name, err)
		}
	}
}
