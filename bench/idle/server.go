package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/bench/centrifugo"
	"github.com/galeserver/gale/bench/process"
)

// server is a server under test. pids are the processes that have the connections.
type server struct {
	addr string
	pids []int
	end  func()
}

type starter func(ctx context.Context, dir string) (*server, error)

// gale starts Gale with one serve child.
func gale(ctx context.Context, dir string) (*server, error) { return beginGale(ctx, dir, 1) }

// beginGale starts Gale with a number of serve children.
func beginGale(ctx context.Context, dir string, procs int) (*server, error) {
	s, pid, err := begin(ctx, func(port string) []string {
		return []string{
			filepath.Join(dir, "server"), "serve", "-port", port, "-procs", strconv.Itoa(procs), "-workers", "0",
			"-data", filepath.Join(dir, "data"), "-admin", "", "-log-level", "error",
		}
	})
	for i := 0; i < procs && err == nil; i++ {
		var child int
		child, err = process.Child(ctx, pid, fmt.Sprintf("server: serve.%d", i))
		s.pids = append(s.pids, child)
	}
	if err != nil {
		return s, err
	}
	// The server may be ready before its state server, and polls would miss the message.
	for deadline := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		if err = publish(ctx, s.addr); err == nil || time.Now().After(deadline) {
			return s, err
		}
	}
}

// fast starts the peer of bench/sockets on fasthttp/websocket.
func fast(ctx context.Context, dir string) (*server, error) {
	return alone(ctx, func(port string) []string {
		return []string{filepath.Join(dir, "sockets"), "-peer", "127.0.0.1:" + port}
	})
}

// startCentrifugo starts Centrifugo.
func startCentrifugo(ctx context.Context, dir string) (*server, error) {
	command, err := centrifugo.Command(dir)
	if err != nil {
		return &server{end: func() {}}, err
	}
	return alone(ctx, func(port string) (argv []string) {
		for _, arg := range command {
			argv = append(argv, strings.Replace(arg, "PORT", port, 1))
		}
		return argv
	})
}

// tornado starts Debian's Tornado with Debian's Python.
func tornado(ctx context.Context, _ string) (*server, error) {
	return alone(ctx, func(port string) []string {
		return []string{"/usr/bin/python3", "bench/sockets/tornado_sockets.py", port}
	})
}

// alone starts a server that is one process.
func alone(ctx context.Context, command func(port string) []string) (*server, error) {
	s, pid, err := begin(ctx, command)
	s.pids = []int{pid}
	return s, err
}

// begin starts a server. end must be called, also after an error.
func begin(ctx context.Context, command func(port string) []string) (s *server, pid int, err error) {
	s = &server{end: func() {}}
	port, err := process.FreePort(ctx)
	if err != nil {
		return s, 0, err
	}
	s.addr = "127.0.0.1:" + port
	ctx, cancel := context.WithCancel(ctx)
	argv := command(port)
	cmd, err := process.Begin(ctx, port, argv[0], argv[1:]...)
	if cmd == nil {
		cancel()
		return s, 0, err
	}
	s.end = func() {
		cancel()
		_ = cmd.Wait() // it was sent TERM
	}
	return s, cmd.Process.Pid, err
}
