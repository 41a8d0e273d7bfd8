package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// dialers is the number of connections that are opened at a time.
	dialers = 32
	// patience is the time limit for a response.
	patience = time.Minute
)

const news = "New data available!"

// request is the text to send on a connection, and the text that the response contains once
// the request is waiting.
type request struct{ text, want string }

var (
	socket = request{
		text: "GET /websocket HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + strings.Repeat("A", 21) + "Q==\r\n\r\n",
		want: "Welcome to the WebSocket server!",
	}
	poll   = request{text: "GET /longpoll?s=60 HTTP/1.1\r\nHost: bench\r\n\r\n", want: "Waiting for data..."}
	stream = request{text: "GET /events/news HTTP/1.1\r\nHost: bench\r\n\r\n", want: "event: subscribed"}
)

// held are connections with waiting requests.
type held struct{ conns []net.Conn }

func (h *held) close() {
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// hold opens n connections and sends a request on each. After an error it also returns
// the open connections.
func hold(ctx context.Context, addr string, n int, r request) (*held, error) {
	h := &held{}
	var mu sync.Mutex
	var failed error
	var opening sync.WaitGroup
	for d := range dialers {
		opening.Go(func() { // ends when its part of the connections is open
			for i := d; i < n; i += dialers {
				c, err := open(ctx, addr, r)
				mu.Lock()
				if c != nil {
					h.conns = append(h.conns, c)
				}
				if err != nil && failed == nil {
					failed = err
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	opening.Wait()
	return h, failed
}

func open(ctx context.Context, addr string, r request) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte(r.text)); err != nil {
		return c, err
	}
	return c, await(c, r.want)
}

// await reads until text is received.
func await(c net.Conn, text string) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var got []byte
	piece := make([]byte, 1024)
	for !bytes.Contains(got, []byte(text)) {
		n, err := c.Read(piece)
		got = append(got, piece[:n]...)
		if err != nil {
			return fmt.Errorf("%w instead of %q, after %q", err, text, got)
		}
	}
	return nil
}

// arrivals returns the time from began until each connection received the message.
func arrivals(conns []net.Conn, began time.Time) ([]time.Duration, error) {
	took, faults := make([]time.Duration, len(conns)), make([]error, len(conns))
	var reading sync.WaitGroup
	for i, c := range conns {
		reading.Go(func() { // ends with the message or an error
			faults[i] = await(c, news)
			took[i] = time.Since(began)
		})
	}
	reading.Wait()
	for _, err := range faults {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// publish publishes the message that all connections wait for.
func publish(ctx context.Context, addr string) error {
	h, err := hold(ctx, addr, 1, request{
		text: "POST /publish/news HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: " + fmt.Sprint(len(news)) + "\r\n\r\n" + news,
		want: `"seq":`,
	})
	h.close()
	return err
}
