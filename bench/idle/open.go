package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/bench/centrifugo"
)

const (
	// dialers is the number of connections that are opened at a time.
	dialers = 32
	// patience is the time limit for a response.
	patience = time.Minute
)

// request is what a client sends on a new connection, and a part of what it receives once it
// waits.
type request struct {
	text, want string
	webSocket  bool
	// join is a message that the client of a WebSocket sends after the handshake, and joined a
	// part of the response. Empty: none.
	join, joined string
	// ping is a message that the client responds to with the message pong. Empty: only frames
	// of the WebSocket protocol are pings.
	ping, pong string
}

func upgrade(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + strings.Repeat("A", 21) + "Q==\r\n\r\n"
}

var (
	socket     = request{text: upgrade("/websocket"), want: "Welcome to the WebSocket server!", webSocket: true}
	listener   = request{text: upgrade("/broadcast"), want: "Connected to Broadcast WebSocket server!", webSocket: true}
	centrifuge = request{
		text: upgrade(centrifugo.Path), want: "\r\n\r\n", webSocket: true,
		join: centrifugo.Connect, joined: centrifugo.Connected, ping: centrifugo.Ping, pong: centrifugo.Pong,
	}
	poll   = request{text: "GET /longpoll?s=60 HTTP/1.1\r\nHost: bench\r\n\r\n", want: "Waiting for data..."}
	stream = request{text: "GET /events/news HTTP/1.1\r\nHost: bench\r\n\r\n", want: "event: subscribed"}
)

// hold opens n connections and sends a request on each. After an error it also returns
// the open connections.
func hold(ctx context.Context, addr string, n int, r request) (*held, error) {
	h := &held{request: r}
	if r.webSocket {
		if err := h.begin(); err != nil {
			return h, err
		}
	}
	return h, h.grow(ctx, addr, n)
}

// grow opens connections until there are n.
func (h *held) grow(ctx context.Context, addr string, n int) error {
	ports, err := localPorts()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var failed error
	var opening sync.WaitGroup
	have := len(h.conns)
	for d := range dialers {
		opening.Go(func() { // ends when its part of the connections is open
			for i := have + d; i < n; i += dialers {
				c, err := open(ctx, local(h.first+i, ports), addr, h.request)
				if c != nil {
					err = h.add(c, err)
				}
				mu.Lock()
				if err != nil && failed == nil {
					failed = explain(fmt.Errorf("connection %d of %d: %w", i+1, n, err))
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
	return failed
}

// localPorts returns the number of connections to one server that an address should have: a
// third of the ports that the kernel chooses from. It first tries the half of them with the same
// parity, one after the other, so connections are expensive when most of that half is in use.
func localPorts() (int, error) {
	const file = "/proc/sys/net/ipv4/ip_local_port_range"
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil || last-first < 3 {
		return 0, fmt.Errorf("%s is %q: %w", file, text, cmp.Or(err, errTooLow))
	}
	return (last - first) / 3, nil
}

// local returns the address from which connection i is opened: 127.0.0.2 for the first ones,
// then 127.0.0.3 and so on.
func local(i, ports int) *net.TCPAddr {
	number := 2 + i/ports
	return &net.TCPAddr{IP: net.IPv4(127, 0, byte(number/256), byte(number))}
}

// open opens a connection. After an error it returns the connection if it is open.
func open(ctx context.Context, from *net.TCPAddr, addr string, r request) (*conn, error) {
	dialer := net.Dialer{LocalAddr: from, Timeout: patience, Control: chooseLater}
	tcp, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: tcp}
	// Close sends a reset, so no connection stays in the state TIME_WAIT.
	if err := tcp.(*net.TCPConn).SetLinger(0); err != nil {
		return c, err
	}
	if _, err := c.Write([]byte(r.text)); err != nil {
		return c, err
	}
	got, err := await(c, r.want)
	if err == nil && r.join != "" {
		if err := c.send(opText, []byte(r.join)); err != nil {
			return c, err
		}
		var more []byte
		more, err = await(c, r.joined)
		got = append(got, more...)
	}
	if _, frames, found := bytes.Cut(got, []byte("\r\n\r\n")); found && r.webSocket {
		c.rest = frames
	}
	return c, err
}

// chooseLater lets the kernel choose the port when it knows the address of the server. Otherwise
// all connections from one address would need different ports (ip(7), IP_BIND_ADDRESS_NO_PORT).
func chooseLater(_, _ string, raw syscall.RawConn) (err error) {
	failed := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	})
	if failed != nil {
		return failed
	}
	return err
}

// await reads until text is received, and returns what it has read.
func await(c net.Conn, text string) (got []byte, err error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	piece := make([]byte, 1024)
	for !bytes.Contains(got, []byte(text)) {
		n, err := c.Read(piece)
		got = append(got, piece[:n]...)
		if err != nil {
			return got, fmt.Errorf("%w instead of %q, after %q", err, text, got)
		}
	}
	return got, c.SetReadDeadline(time.Time{})
}
