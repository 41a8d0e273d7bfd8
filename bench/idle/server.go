package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/galeserver/gale/bench/process"
)

// server is a server under test. pid is the process that has the connections.
type server struct {
	addr string
	pid  int
	end  func()
}

type starter func(ctx context.Context, dir string) (*server, error)

// gale starts Gale with one serve child.
func gale(ctx context.Context, dir string) (*server, error) {
	s, pid, err := begin(ctx, func(port string) []string {
		return []string{
			filepath.Join(dir, "server"), "serve", "-port", port, "-procs", "1", "-workers", "0",
			"-data", filepath.Join(dir, "data"), "-admin", "", "-log-level", "warn",
		}
	})
	if err == nil {
		s.pid, err = process.Child(ctx, pid, "server: serve.0")
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

// tornado starts Debian's Tornado with Debian's Python.
func tornado(ctx context.Context, _ string) (*server, error) {
	s, pid, err := begin(ctx, func(port string) []string {
		return []string{"/usr/bin/python3", "bench/idle/tornado_idle.py", port}
	})
	s.pid = pid
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
