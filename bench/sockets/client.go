package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
)

// patience is the time limit for one message.
const patience = time.Minute

// clients are connected WebSockets.
type clients []*websocket.Conn

// dial opens n WebSockets. After an error it also returns those that are open.
func dial(ctx context.Context, addr, path string, n int) (all clients, err error) {
	for range n {
		c, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+path, nil)
		if err != nil {
			return all, err
		}
		_ = resp.Body.Close() // empty after a successful handshake
		all = append(all, c)
		if _, err := receive(c); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (all clients) close() {
	for _, c := range all {
		_ = c.Close()
	}
}

// receive returns the next message.
func receive(c *websocket.Conn) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	_, text, err := c.ReadMessage()
	return string(text), err
}

// echo lets each client send messages for the time length. A client sends the next message
// when it has received the previous one. echo returns the number of messages.
func (all clients) echo(length time.Duration) (total int, err error) {
	counts, faults := make([]int, len(all)), make([]error, len(all))
	var talking sync.WaitGroup
	end := time.Now().Add(length)
	for i, c := range all {
		talking.Go(func() { // ends after the time or with an error
			for time.Now().Before(end) && faults[i] == nil {
				faults[i] = sendOne(c)
				counts[i]++
			}
		})
	}
	talking.Wait()
	for _, n := range counts {
		total += n
	}
	return total, errors.Join(faults...)
}

func sendOne(c *websocket.Conn) error {
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		return err
	}
	response, err := receive(c)
	if err == nil && response != "You said: hello" {
		err = fmt.Errorf("the response is %q", response)
	}
	return err
}

// broadcast lets the first client send messages for the time length. It sends the next
// message when all clients have received the previous one. broadcast returns the number of
// received messages.
func (all clients) broadcast(length time.Duration) (deliveries int, err error) {
	received := make(chan error, len(all))
	var listening sync.WaitGroup
	next := make([]chan int, len(all)) // number of the next message for each client
	for i, c := range all {
		next[i] = make(chan int, 1)
		listening.Go(func() { // ends when next is closed
			for n := range next[i] {
				text, err := receive(c)
				if want := fmt.Sprintf("Broadcast: %d", n); err == nil && text != want {
					err = fmt.Errorf("received %q, want %q", text, want)
				}
				received <- err
			}
		})
	}
	for n, end := 0, time.Now().Add(length); err == nil && time.Now().Before(end); n++ {
		for i := range next {
			next[i] <- n
		}
		err = all[0].WriteMessage(websocket.TextMessage, fmt.Append(nil, n))
		for range all {
			err = errors.Join(err, <-received)
		}
		deliveries += len(all)
	}
	for i := range next {
		close(next[i])
	}
	listening.Wait()
	return deliveries, err
}
