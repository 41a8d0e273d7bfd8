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
	inFlight    = 64 // requests at once
	slowAfter   = 100 * time.Millisecond
	giveUpAfter = 15 * time.Second
)

// result is what clients saw.
type result struct {
	requests int
	queued   int // lost before the server had accepted them
	inFlight int // lost while a child was at it
	late     int // slower than slowAfter
	note     string
}

func (r result) slow() float64 { return 100 * float64(r.late) / float64(max(r.requests, 1)) }

// check fails if more was lost than may be.
func (r result) check(inFlight int) error {
	switch {
	case r.requests < 1000:
		return fmt.Errorf("%d requests are no load", r.requests)
	case r.queued > 0:
		return fmt.Errorf("%d lost before they were accepted", r.queued)
	case r.inFlight > inFlight:
		return fmt.Errorf("%d lost in flight", r.inFlight)
	}
	return nil
}

// loss is a request without an answer.
type loss struct {
	port int // of the client
	at   time.Time
	err  error
}

// load asks with inFlight clients, a connection for each request.
type load struct {
	addr    string
	stop    chan struct{}
	clients sync.WaitGroup

	mu       sync.Mutex
	requests int
	late     int
	losses   []loss
	answers  map[string]int // by body, since the last forget
}

func startLoad(addr string) *load {
	l := &load{addr: addr, stop: make(chan struct{}), answers: map[string]int{}}
	for range inFlight {
		l.clients.Go(func() { // ends with stop
			for {
				select {
				case <-l.stop:
					return
				default:
					l.ask()
				}
			}
		})
	}
	return l
}

func (l *load) ask() {
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
	l.answers[body]++
}

// forget forgets the answers so far and returns them.
func (l *load) forget() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.answers
	l.answers = map[string]int{}
	return old
}

// end stops the clients. What a victim held when it was killed was in flight;
// any other loss is one that nobody had accepted.
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

// get asks once, on a connection of its own.
func get(addr, path string) (port int, body string, err error) {
	conn, err := dial(context.Background(), addr)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close() //nolint:errcheck // read to its end
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		port = local.Port
	}
	_ = conn.SetDeadline(time.Now().Add(giveUpAfter))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path); err != nil {
		return port, "", err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return port, "", err
	}
	head, rest, whole := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !whole {
		return port, "", errors.New("cut off")
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 200") {
		return port, "", fmt.Errorf("answered %.40q", head)
	}
	return port, string(rest), nil
}
