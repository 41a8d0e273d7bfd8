package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// holders are processes of this program that hold connections with subscriptions. One process
// cannot have more connections than open files. This process controls them by RPC, on their
// standard input and output.
type holders struct {
	each int // highest number of connections of a process
	all  []*holder
}

type holder struct {
	*rpc.Client

	process *exec.Cmd
}

// Growth is the argument of Holder.Grow.
type Growth struct {
	Addr string // of the server
	N    int    // number of connections
}

// Holder is the service of a holder.
type Holder struct {
	ctx  context.Context //nolint:containedctx // of the process: a call of package rpc has none
	held *held
}

// serveHolder serves the calls on standard input until it ends. first is the number of the first
// connection, from which its address follows.
func serveHolder(ctx context.Context, first int) error {
	h := &held{request: listener, first: first}
	if err := h.begin(); err != nil {
		return err
	}
	defer h.close()
	s := rpc.NewServer()
	if err := s.Register(&Holder{ctx, h}); err != nil {
		return err
	}
	s.ServeConn(stdio{os.Stdin, os.Stdout})
	return nil
}

type stdio struct {
	io.ReadCloser
	io.Writer
}

// Grow opens connections until there are N.
func (s *Holder) Grow(g Growth, _ *struct{}) error { return s.held.grow(s.ctx, g.Addr, g.N) }

// Expect must be called before a message is sent that all connections receive.
func (s *Holder) Expect(text string, _ *struct{}) error { return s.held.expect(text) }

// Arrived waits until each connection has the message, and returns when that was.
func (s *Holder) Arrived(_ struct{}, at *[]time.Time) (err error) {
	*at, err = s.held.arrived()
	return err
}

// Pings returns the number of pings to which the connections have responded. The error is that
// of a connection that was lost.
func (s *Holder) Pings(_ struct{}, n *int) (err error) {
	*n, err = s.held.state()
	return err
}

// startHolders starts enough processes for most connections. stop must be called, also after
// an error.
func startHolders(ctx context.Context, most, each int) (*holders, error) {
	hs := &holders{each: each}
	self, err := os.Executable()
	if err != nil {
		return hs, err
	}
	for first := 0; first < most; first += each {
		cmd := exec.CommandContext(ctx, self, "-hold", "-first", strconv.Itoa(first))
		cmd.Stderr = os.Stderr
		in, errIn := cmd.StdinPipe()
		out, errOut := cmd.StdoutPipe()
		if err := errors.Join(errIn, errOut); err != nil {
			return hs, err
		}
		if err := cmd.Start(); err != nil {
			return hs, fmt.Errorf("start a process for connections: %w", err)
		}
		hs.all = append(hs.all, &holder{rpc.NewClient(pipes{out, in}), cmd})
	}
	return hs, nil
}

type pipes struct {
	io.Reader
	io.WriteCloser
}

// stop ends the processes, which closes their connections.
func (hs *holders) stop() {
	for _, h := range hs.all {
		_ = h.Close() // the end of its standard input
	}
	for _, h := range hs.all {
		_ = h.process.Wait()
	}
}

// grow opens connections until there are n. The first processes have as many as they can.
func (hs *holders) grow(addr string, n int) error {
	for i, h := range hs.all {
		part := min(n-i*hs.each, hs.each)
		if part <= 0 {
			return nil
		}
		if err := h.Call("Holder.Grow", Growth{addr, part}, nil); err != nil {
			return err
		}
	}
	return nil
}

// broadcast calls publish, and returns the time until each connection has received the message.
func (hs *holders) broadcast(message string, publish func() error) (took []time.Duration, err error) {
	for _, h := range hs.all {
		if err := h.Call("Holder.Expect", message, nil); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	if err := publish(); err != nil {
		return nil, err
	}
	for _, h := range hs.all {
		var at []time.Time
		if err := h.Call("Holder.Arrived", struct{}{}, &at); err != nil {
			return nil, err
		}
		for _, t := range at {
			took = append(took, t.Sub(began))
		}
	}
	slices.Sort(took)
	return took, nil
}

// pings returns the number of pings to which the connections have responded.
func (hs *holders) pings() (total int, err error) {
	for _, h := range hs.all {
		var n int
		if err := h.Call("Holder.Pings", struct{}{}, &n); err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
