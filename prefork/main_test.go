package prefork

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary plays all parts: it is the test, a master when
// PREFORK_TEST_MASTER says so, and a child when the master has made it one.
func init() { runtime.LockOSThread() } // the master must run on the main thread

const envMaster = "PREFORK_TEST_MASTER"

func TestMain(m *testing.M) {
	child, ok, err := Inherit(os.Environ())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	case ok:
		os.Exit(childMain(child))
	case os.Getenv(envMaster) != "":
		os.Exit(masterMain(os.Getenv(envMaster)))
	}
	os.Exit(m.Run())
}

// masterMain runs two listening slots, or as many as the file says, and a
// silent one. The file's first word says what the children do.
func masterMain(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if tested := TestedConfig(os.Environ()); tested != nil {
		text = tested
	}
	behaviour, slots := string(text), 2
	_, _ = fmt.Sscanf(string(text), "%s %d", &behaviour, &slots)
	if behaviour == "bad-config" {
		fmt.Fprintln(os.Stderr, "configuration: nobody can run with that")
		return 2
	}
	bootTimeout := time.Minute
	if behaviour == "never-ready" || behaviour == "deaf" {
		bootTimeout = 5 * time.Second // the others are ready by then
	}
	m, err := New(Options{
		Roles:   []Role{{Name: "serve", Slots: slots, Listens: true}, {Name: "worker", Slots: 1}, {Name: "store", Slots: 1, KeepOnReload: true}},
		Command: os.Args, Address: "127.0.0.1:0", Program: "test", Config: text, Environ: os.Environ(),
		Grace: time.Minute, BootTimeout: bootTimeout, MaxRequests: maxRequests(behaviour),
		Backoff: Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if trial, err := m.Trial(); trial || err != nil {
		return 0
	}
	addr, err := m.Listen()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("listening %s\n", addr)
	if err := m.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func maxRequests(behaviour string) int64 {
	if behaviour == "recycle" {
		return 50
	}
	return 0
}

// hang does nothing for longer than any test. A bare select would be noticed by
// the runtime, which ends a program all of whose goroutines wait for ever.
func hang() { <-time.After(time.Hour) }

// childMain serves a line protocol that says who answers.
func childMain(c *Child) int {
	behaviour, _, _ := strings.Cut(string(c.Config), " ")
	if behaviour == "slow" {
		<-time.After(500 * time.Millisecond)
	}
	if behaviour == "crash" || behaviour == "crash-on-boot" && c.Slot() == "serve.1" {
		return 7
	}
	if behaviour == "orphans" { // leave a process behind that nobody waits for
		if err := exec.Command("/bin/sh", "-c", "sleep 0.1 & exit").Run(); err != nil {
			return 8
		}
	}
	if behaviour == "deaf" { // the new release of a reload
		hang()
	}
	if behaviour == "never-ready" && c.Slot() == "serve.1" && c.Generation == 1 {
		hang()
	}
	grace := time.Minute
	if behaviour == "stubborn" {
		grace = time.Second
	}
	err := c.Run(context.Background(), grace, func(ctx context.Context) error {
		if c.Role == "serve" {
			ln, err := c.Listener()
			if err != nil {
				return err
			}
			var serving sync.WaitGroup
			defer serving.Wait()
			serving.Go(func() { serveLines(ln, c, &serving) }) // ends when ln is closed
			defer ln.Close()
		}
		if err := c.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		fmt.Printf("%s leaves: %v\n", c.Slot(), context.Cause(ctx))
		if behaviour == "stubborn" {
			hang()
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serveLines answers each connection with the slot, the PID, what the children
// are told to do, and what it sent.
func serveLines(ln net.Listener, c *Child, serving *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		serving.Go(func() { // ends with the connection
			defer conn.Close()
			c.Counters().Connections.Add(1)
			defer c.Counters().Connections.Add(-1)
			buf := make([]byte, 64)
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if string(c.Config) == "hold" {
				fmt.Fprint(conn, c.Slot())
				_, _ = conn.Read(buf)
				return
			}
			behaviour, _, _ := strings.Cut(string(c.Config), " ")
			fmt.Fprintf(conn, "%s %d %s %s", c.Slot(), os.Getpid(), behaviour, buf[:n])
			c.Counters().Requests.Add(1)
		})
	}
}

// response names the process that sent it.
type response struct {
	slot      string
	pid       int
	behaviour string
}

// request sends a line to the server.
func request(addr string) (a response, err error) {
	conn, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return a, err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return a, err
	}
	if !strings.HasSuffix(string(text), " hello") {
		return a, fmt.Errorf("answer %q", text)
	}
	_, err = fmt.Sscanf(string(text), "%s %d %s", &a.slot, &a.pid, &a.behaviour)
	return a, err
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
