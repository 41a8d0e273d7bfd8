package process

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Server is a server in a comparison.
type Server struct {
	Name    string
	Command []string // program and arguments, in which PORT is replaced by the port

	Addr string // 127.0.0.1:PORT, after Start

	root *exec.Cmd
	end  context.CancelFunc
}

// ErrTooLittle is the error of Cost if the CPU time or the number of requests was zero.
var ErrTooLittle = errors.New("too little work to measure: use longer turns")

// Start starts the server on the CPUs, in the form of taskset(1), and returns when it
// listens. Stop must be called, also after an error.
func (s *Server) Start(ctx context.Context, cpus string) error {
	port, err := FreePort(ctx)
	if err != nil {
		return err
	}
	s.Addr = "127.0.0.1:" + port
	args := []string{"-c", cpus}
	for _, arg := range s.Command {
		args = append(args, strings.Replace(arg, "PORT", port, 1))
	}
	ctx, s.end = context.WithCancel(ctx)
	if s.root, err = Begin(ctx, port, "taskset", args...); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	return nil
}

// Stop kills the server and its children.
func (s *Server) Stop() {
	if s.end != nil {
		defer s.end()
	}
	if s.root != nil && s.root.Process != nil {
		Kill(s.root.Process.Pid)
		_ = s.root.Wait() // was killed
	}
}

// Cost runs work, which returns the number of requests, and returns the CPU time of the
// server and its children per request. It returns ErrTooLittle if there were no requests
// or no CPU time.
func (s *Server) Cost(work func() (n int, err error)) (time.Duration, error) {
	before, err := CPU(s.root.Process.Pid)
	if err != nil {
		return 0, err
	}
	n, err := work()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.Name, err)
	}
	after, err := CPU(s.root.Process.Pid)
	if err == nil && (n == 0 || after == before) {
		err = fmt.Errorf("%s: %d requests in %v of CPU time: %w", s.Name, n, after-before, ErrTooLittle)
	}
	return (after - before) / time.Duration(max(n, 1)), err
}
