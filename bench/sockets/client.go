package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/bench/centrifugo"
)

// patience is the time limit for one message.
const patience = time.Minute

// clients are connected WebSockets.
type clients []client

// client is a connected WebSocket of a broadcast or an echo.
type client interface {
	// join makes the client ready to receive messages.
	join() error
	// send sends a message. In a broadcast all clients receive it.
	send(text string) error
	// receive returns the next message.
	receive() (string, error)
	close()
}

// plain is a client of the demonstration, whose messages are texts.
type plain struct{ ws *websocket.Conn }

// join receives the welcome message.
func (c plain) join() error {
	_, err := c.receive()
	return err
}

func (c plain) send(text string) error {
	return c.ws.WriteMessage(websocket.TextMessage, []byte(text))
}

func (c plain) receive() (string, error) {
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	_, text, err := c.ws.ReadMessage()
	return string(text), err
}

func (c plain) close() { _ = c.ws.Close() }

// subscriber is a client of Centrifugo.
type subscriber struct {
	plain

	channel string
	next    []string   // messages that were received together with the last one
	sending sync.Mutex // held while something is sent: receive responds to pings
}

// join connects and subscribes.
func (c *subscriber) join() error {
	for _, text := range []string{centrifugo.Connect, centrifugo.Subscribe(c.channel)} {
		if err := c.write(text); err != nil {
			return err
		}
		reply, err := c.plain.receive()
		if err != nil {
			return err
		}
		if _, _, err := centrifugo.Published([]byte(reply)); err != nil {
			return err
		}
	}
	return nil
}

func (c *subscriber) send(text string) error {
	return c.write(centrifugo.Publish(c.channel, text))
}

func (c *subscriber) write(message string) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.plain.send(message)
}

func (c *subscriber) receive() (text string, err error) {
	for len(c.next) == 0 {
		message, err := c.plain.receive()
		if err != nil {
			return "", err
		}
		var ping bool
		if c.next, ping, err = centrifugo.Published([]byte(message)); err != nil {
			return "", err
		}
		if ping {
			if err := c.write(centrifugo.Pong); err != nil {
				return "", err
			}
		}
	}
	text, c.next = c.next[0], c.next[1:]
	return "Broadcast: " + text, nil
}

// dial opens n WebSockets. After an error it also returns those that are open.
func (c *candidate) dial(ctx context.Context, path string, n int) (all clients, err error) {
	if c.channel != "" {
		path = centrifugo.Path
	}
	for range n {
		ws, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+c.Addr+path, nil)
		if err != nil {
			return all, fmt.Errorf("connect to %s: %w", c.Name, err)
		}
		_ = resp.Body.Close() // empty after a successful handshake
		var one client = plain{ws}
		if c.channel != "" {
			one = &subscriber{plain: plain{ws}, channel: c.channel}
		}
		all = append(all, one)
		if err := one.join(); err != nil {
			return all, fmt.Errorf("connect to %s: %w", c.Name, err)
		}
	}
	return all, nil
}

func (all clients) close() {
	for _, c := range all {
		c.close()
	}
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

func sendOne(c client) error {
	if err := c.send("hello"); err != nil {
		return err
	}
	response, err := c.receive()
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
				text, err := c.receive()
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
		err = all[0].send(fmt.Sprint(n))
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
