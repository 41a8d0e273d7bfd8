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
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The test binary runs as the test, as a master if PREFORK_TEST_MASTER is set, and as a
// child if a master has started it.
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

// masterMain runs a master with the roles serve, worker and store. The first word of the
// file is the behaviour of the children. The second, if there is one, is the number of
// serve slots, by default 2.
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
		fmt.Fprintln(os.Stderr, "configuration: bad value")
		return 2
	}
	bootTimeout := time.Minute
	if behaviour == "never-ready" || behaviour == "hang-on-boot" {
		bootTimeout = 5 * time.Second // enough for the other children
	}
	var m *Master
	m, err = New(Options{
		Roles:   []Role{{Name: "serve", Slots: slots, Listens: true}, {Name: "worker", Slots: 1}, {Name: "store", Slots: 1, KeepOnReload: true}},
		Command: os.Args, Address: "127.0.0.1:0", Program: "test", Config: text, Environ: os.Environ(),
		Grace: time.Minute, BootTimeout: bootTimeout, MaxRequests: maxRequests(behaviour),
		SharedMemory: 4096,
		Backoff:      Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
		AppState:     func() []byte { return append([]byte("+"), m.AppState()...) },
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
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
	fmt.Printf("application state %q\n", m.AppState())
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

// hang blocks for longer than any test runs. It does not use select{}, because the
// runtime ends a program whose goroutines are all blocked forever.
func hang() { <-time.After(time.Hour) }

// childMain runs a child. If its role is serve, it serves the protocol of serveLines.
func childMain(c *Child) int {
	behaviour, _, _ := strings.Cut(string(c.Config), " ")
	if behaviour == "count" {
		fmt.Printf("process %d\n", (*atomic.Int64)(unsafe.Pointer(unsafe.SliceData(c.SharedMemory()))).Add(1))
	}
	if behaviour == "slow" {
		<-time.After(500 * time.Millisecond)
	}
	if behaviour == "crash" || behaviour == "crash-on-boot" && c.Slot() == "serve.1" {
		return 7
	}
	if behaviour == "orphans" { // start a process that becomes an orphan
		if err := exec.Command("/bin/sh", "-c", "sleep 0.1 & exit").Run(); err != nil {
			return 8
		}
	}
	if behaviour == "hang-on-boot" {
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
		fmt.Printf("%s drains: %v\n", c.Slot(), context.Cause(ctx))
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

// serveLines reads one message from each connection, and responds with the slot, the
// PID, the behaviour and the message.
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

// response is the response of serveLines.
type response struct {
	slot      string
	pid       int
	behaviour string
}

// request sends a message to the server, and reads the response.
func request(addr string) (r response, err error) {
	conn, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return r, err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return r, err
	}
	if !strings.HasSuffix(string(text), " hello") {
		return r, fmt.Errorf("response %q", text)
	}
	_, err = fmt.Sscanf(string(text), "%s %d %s", &r.slot, &r.pid, &r.behaviour)
	return r, err
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
