package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	inFlight    = 64 // concurrent requests
	slowAfter   = 100 * time.Millisecond
	giveUpAfter = 15 * time.Second
)

// result holds the counts of the clients.
type result struct {
	requests int
	queued   int // requests lost before a child had accepted them
	inFlight int // requests lost while a child was serving them
	late     int // requests that took longer than slowAfter
	note     string
}

func (r result) slow() float64 { return 100 * float64(r.late) / float64(max(r.requests, 1)) }

// check returns an error if more requests were lost than allowed.
func (r result) check(inFlight int) error {
	switch {
	case r.requests < 1000:
		return fmt.Errorf("only %d requests: too few for a test", r.requests)
	case r.queued > 0:
		return fmt.Errorf("%d lost before they were accepted", r.queued)
	case r.inFlight > inFlight:
		return fmt.Errorf("%d lost in flight", r.inFlight)
	}
	return nil
}

// loss is a request without a response.
type loss struct {
	port int // port of the client
	at   time.Time
	err  error
}

// load sends requests with inFlight clients, on a new connection each.
type load struct {
	addr    string
	stop    chan struct{}
	clients sync.WaitGroup

	mu        sync.Mutex
	requests  int
	late      int
	losses    []loss
	responses map[string]int // number of responses by body, after the last takeResponses
}

func startLoad(addr string) *load {
	l := &load{addr: addr, stop: make(chan struct{}), responses: map[string]int{}}
	for range inFlight {
		l.clients.Go(func() { // ends with stop
			for {
				select {
				case <-l.stop:
					return
				default:
					l.request()
				}
			}
		})
	}
	return l
}

func (l *load) request() {
	begin := time.Now()
	port, body, err := get(l.addr, "/")
	took := time.Since(begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if took > slowAfter {
		l.late++
	}
	if err != nil {
		l.losses = append(l.losses, loss{port, time.Now(), err})
		return
	}
	l.responses[body]++
}

// takeResponses returns the number of responses by body since the last call.
func (l *load) takeResponses() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.responses
	l.responses = map[string]int{}
	return old
}

// end stops the clients. A lost request is in flight if a victim had accepted its
// connection; any other was in an accept queue.
func (l *load) end(victims []victim) (r result) {
	close(l.stop)
	l.clients.Wait()
	r = result{requests: l.requests, late: l.late}
	for _, lost := range l.losses {
		held := false
		for _, v := range victims {
			held = held || v.held[lost.port] && lost.at.Sub(v.at).Abs() < giveUpAfter
		}
		if held {
			r.inFlight++
			continue
		}
		r.queued++
		r.note = lost.err.Error()
	}
	return r
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: giveUpAfter}
	return d.DialContext(ctx, "tcp", addr)
}

// get sends one request on its own connection.
func get(addr, path string) (port int, body string, err error) {
	conn, err := dial(context.Background(), addr)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close() //nolint:errcheck // has been read
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		port = local.Port
	}
	_ = conn.SetDeadline(time.Now().Add(giveUpAfter))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path); err != nil {
		return port, "", err
	}
	response, err := io.ReadAll(conn)
	if err != nil {
		return port, "", err
	}
	head, rest, whole := bytes.Cut(response, []byte("\r\n\r\n"))
	if !whole {
		return port, "", errors.New("cut off")
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 200") {
		return port, "", fmt.Errorf("response %.40q", head)
	}
	return port, string(rest), nil
}
