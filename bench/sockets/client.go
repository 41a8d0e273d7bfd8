package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
)

// patience is how long a server may take for one answer.
const patience = time.Minute

// clients are WebSockets that have been greeted.
type clients []*websocket.Conn

// dial opens n of them; it returns those that there are, with an error, too.
func dial(ctx context.Context, addr, path string, n int) (all clients, err error) {
	for range n {
		c, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+path, nil)
		if err != nil {
			return all, err
		}
		_ = resp.Body.Close() // of a handshake that went well: empty
		all = append(all, c)
		if _, err := hear(c); err != nil {
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

// hear returns the next message.
func hear(c *websocket.Conn) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	_, text, err := c.ReadMessage()
	return string(text), err
}

// echo has each client send a message and hear the answer, over and over for so
// long; it returns how many there were.
func (all clients) echo(length time.Duration) (total int, err error) {
	counts, faults := make([]int, len(all)), make([]error, len(all))
	var talking sync.WaitGroup
	end := time.Now().Add(length)
	for i, c := range all {
		talking.Go(func() { // ends in time, or with an error
			for time.Now().Before(end) && faults[i] == nil {
				faults[i] = ask(c)
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

func ask(c *websocket.Conn) error {
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		return err
	}
	answer, err := hear(c)
	if err == nil && answer != "You said: hello" {
		err = fmt.Errorf("the answer is %q", answer)
	}
	return err
}

// broadcast has the first client say things, each once all have heard the one
// before, for so long; it returns how many messages were heard.
func (all clients) broadcast(length time.Duration) (deliveries int, err error) {
	heard := make(chan error, len(all))
	var listening sync.WaitGroup
	next := make([]chan int, len(all)) // the number that each is to hear
	for i, c := range all {
		next[i] = make(chan int, 1)
		listening.Go(func() { // ends when next is closed
			for n := range next[i] {
				text, err := hear(c)
				if want := fmt.Sprintf("Broadcast: %d", n); err == nil && text != want {
					err = fmt.Errorf("heard %q, not %q", text, want)
				}
				heard <- err
			}
		})
	}
	for n, end := 0, time.Now().Add(length); err == nil && time.Now().Before(end); n++ {
		for i := range next {
			next[i] <- n
		}
		err = all[0].WriteMessage(websocket.TextMessage, fmt.Append(nil, n))
		for range all {
			err = errors.Join(err, <-heard)
		}
		deliveries += len(all)
	}
	for i := range next {
		close(next[i])
	}
	listening.Wait()
	return deliveries, err
}
