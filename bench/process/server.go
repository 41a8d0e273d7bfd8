package process

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Server is a server that takes part in a comparison.
type Server struct {
	Name    string
	Command []string // PORT stands for its port

	Addr string // once it is started: 127.0.0.1:PORT

	root *exec.Cmd
	end  context.CancelFunc
}

// ErrTooLittle is that a server did too little to say anything about it.
var ErrTooLittle = errors.New("too little to say anything, give it longer turns")

// Start starts it on the CPUs, as taskset(1) names them, and returns when it
// listens. With an error, too, Stop ends it.
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

// Stop ends it with its children.
func (s *Server) Stop() {
	if s.end != nil {
		defer s.end()
	}
	if s.root != nil && s.root.Process != nil {
		Kill(s.root.Process.Pid)
		_ = s.root.Wait() // was killed
	}
}

// Cost runs work, which counts what the server does meanwhile, and returns the
// CPU time of the server and its children for each. If there
// was too little of either, that is an ErrTooLittle.
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
		err = fmt.Errorf("%s did %d in %v of CPU: %w", s.Name, n, after-before, ErrTooLittle)
	}
	return (after - before) / time.Duration(max(n, 1)), err
}
