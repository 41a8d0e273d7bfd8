package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
)

// killMaster kills the master while requests wait for a task. All of them must get a
// response, and then all processes must end.
func killMaster(ctx context.Context, b *bench) (r result, err error) {
	const requests = 32
	s, err := b.start(ctx, b.binary, "-grace", "8s")
	if err != nil {
		return r, err
	}
	if err := s.awaitLive(); err != nil {
		return r, err
	}
	st, err := s.status()
	if err != nil {
		return r, err
	}
	_, body, err := get(s.addr, "/start-task?data=x")
	if err != nil {
		return r, err
	}
	id := strings.TrimPrefix(strings.TrimSpace(body), "Task started: ")
	var clients sync.WaitGroup
	responses := make(chan error, requests)
	for range requests {
		clients.Go(func() { // ends with the response
			_, _, err := get(s.addr, "/tasks/"+id+"?wait=3s")
			responses <- err
		})
	}
	if err := eventually("the requests wait", func() bool {
		n := 0
		for _, sl := range s.live() {
			n += sl.Connections
		}
		return n >= requests
	}); err != nil {
		return r, err
	}
	s.signal(syscall.SIGKILL)
	<-s.exited
	clients.Wait()
	for range requests {
		r.requests++
		if lost := <-responses; lost != nil {
			r.inFlight++
			err = errors.Join(err, lost)
		}
	}
	for _, sl := range st.Slots {
		err = errors.Join(err, eventually(fmt.Sprintf("%s with PID %d has ended", sl.Slot, sl.PID), func() bool {
			return syscall.Kill(sl.PID, 0) != nil
		}))
	}
	if ln, bindErr := net.Listen("tcp", s.addr); bindErr != nil { //nolint:noctx // local
		err = errors.Join(err, fmt.Errorf("the port is not free: %w", bindErr))
	} else {
		_ = ln.Close()
	}
	return r, err
}
