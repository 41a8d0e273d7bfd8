package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/bench/process"
)

// rooms is a server of WebSockets whose messages are sent to all clients.
type rooms struct {
	addr  string
	pongs chan string // payloads of the pongs and texts that clients sent

	mu    sync.Mutex
	conns []*websocket.Conn
	from  map[string]int // number of connections by address
}

func serve(t *testing.T) *rooms {
	t.Helper()
	r := &rooms{pongs: make(chan string, 1000), from: map[string]int{}}
	upgrader := websocket.FastHTTPUpgrader{}
	// Without KeepHijackedConns, Close does nothing until join has returned.
	srv := &fasthttp.Server{KeepHijackedConns: true, Handler: func(ctx *fasthttp.RequestCtx) { _ = upgrader.Upgrade(ctx, r.join) }}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }() // ends with ln
	t.Cleanup(func() {
		_ = ln.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rooms) join(c *websocket.Conn) {
	defer c.Close()
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	c.SetPongHandler(func(data string) error { r.pongs <- data; return nil })
	r.mu.Lock()
	r.conns = append(r.conns, c)
	r.from[host]++
	err := c.WriteMessage(websocket.TextMessage, []byte("welcome: Connected to Broadcast WebSocket server!"))
	r.mu.Unlock()
	for err == nil {
		var text []byte
		if _, text, err = c.ReadMessage(); err != nil {
			return
		}
		if string(text) == "{}" {
			r.pongs <- "{}"
			continue
		}
		r.each(func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, append([]byte("all: "), text...)) })
	}
}

func (r *rooms) each(do func(*websocket.Conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		do(c)
	}
}

func (r *rooms) wantPongs(t *testing.T, n int, want string) {
	t.Helper()
	late := time.After(patience)
	for range n {
		select {
		case got := <-r.pongs:
			if got != want {
				t.Fatalf("a client responded %q, want %q", got, want)
			}
		case <-late:
			t.Fatal("a ping has no response")
		}
	}
}

var visitor = request{text: upgrade("/"), want: "welcome", webSocket: true, ping: "{}", pong: "{}"}

// Connections without goroutines respond to both kinds of pings, and receive messages, also
// those that are longer than a read or arrive in pieces.
func TestHold(t *testing.T) {
	t.Parallel()
	r := serve(t)
	h, err := hold(t.Context(), r.addr, 20, visitor)
	defer h.close()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.grow(t.Context(), r.addr, 50); err != nil {
		t.Fatal(err)
	}
	if r.from["127.0.0.2"] != 50 {
		t.Errorf("the connections come from %v", r.from)
	}
	for _, size := range []int{0, 125} {
		ping := strings.Repeat("p", size)
		r.each(func(c *websocket.Conn) { _ = c.WriteControl(websocket.PingMessage, []byte(ping), time.Time{}) })
		r.wantPongs(t, 50, ping)
	}
	r.each(func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, []byte("{}")) })
	r.wantPongs(t, 50, "{}")
	for _, length := range []int{300, 200 << 10} {
		r.each(func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), length)) })
	}
	for range 2 {
		began := time.Now()
		if err := errors.Join(h.expect("hello"), h.conns[0].send(opText, []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		at, err := h.arrived()
		if err != nil || len(at) != 50 || !at[0].After(began) {
			t.Fatalf("sent at %v, received at %v, %v", began, at, err)
		}
	}
	if pings, err := h.state(); pings != 150 || err != nil {
		t.Errorf("%d pings, %v", pings, err)
	}
}

// A connection that the server closes is an error of the whole measurement.
func TestHoldLost(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*websocket.Conn){
		"close frame": func(c *websocket.Conn) {
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1012, "restart"), time.Time{})
		},
		"closed": func(c *websocket.Conn) { _ = c.NetConn().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := serve(t)
			h, err := hold(t.Context(), r.addr, 10, visitor)
			defer h.close()
			if err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			end(r.conns[3])
			r.mu.Unlock()
			for deadline := time.Now().Add(patience); err == nil; <-time.After(time.Millisecond) {
				if _, err = h.state(); time.Now().After(deadline) {
					t.Fatal("the loss is not an error")
				}
			}
			if failed := h.expect("hello"); failed == nil {
				t.Error("a broadcast to a lost connection has no error")
			}
		})
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, length := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), length)
		frame := []byte{0x80 | opText}
		switch {
		case length < 126:
			frame = append(frame, byte(length))
		case length < 1<<16:
			frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(length))
		default:
			frame = binary.BigEndian.AppendUint64(append(frame, 127), uint64(length))
		}
		frame = append(frame, payload...)
		for part := range len(frame) {
			if part > 20 && part < len(frame)-20 {
				continue
			}
			if _, _, rest, complete := cut(frame[:part]); complete || len(rest) != part {
				t.Fatalf("%d of %d bytes: complete %v, %d bytes are left", part, len(frame), complete, len(rest))
			}
		}
		op, got, rest, complete := cut(append(frame, "next"...))
		if !complete || op != opText || !bytes.Equal(got, payload) || string(rest) != "next" {
			t.Errorf("length %d: opcode %d, %d bytes, then %q, complete %v", length, op, len(got), rest, complete)
		}
	}
}

// Each address has as many connections as there are ports.
func TestLocal(t *testing.T) {
	t.Parallel()
	ports, err := localPorts()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "127.0.0.2", ports - 1: "127.0.0.2", ports: "127.0.0.3", 254 * ports: "127.0.1.0"} {
		if got := local(i, ports).IP.String(); got != want {
			t.Errorf("connection %d comes from %s, want %s", i, got, want)
		}
	}
}

// The error names the limit that is too low.
func TestAllowRefuses(t *testing.T) {
	most, err := sysctl("fs/file-max")
	if err != nil {
		t.Fatal(err)
	}
	if most > 1<<40 {
		t.Skip("fs.file-max is practically unlimited")
	}
	if _, err := allow(int(most)); !errors.Is(err, errTooLow) || !strings.Contains(err.Error(), "sysctl -w fs.file-max=") {
		t.Errorf("%d connections: %v", most, err)
	}
	available, err := process.Available()
	if err != nil {
		t.Fatal(err)
	}
	if n := 2 * available / memoryOfEach; n < int64(most)/2-spare {
		if _, err := allow(int(n)); !errors.Is(err, errTooLow) || !strings.Contains(err.Error(), "MiB of memory") {
			t.Errorf("%d connections: %v", n, err)
		}
	}
}

// Several processes hold the connections, each with addresses of its own.
func TestHolders(t *testing.T) {
	t.Parallel()
	r := serve(t)
	all, err := startHolders(t.Context(), 25, 10)
	defer all.stop()
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := hold(t.Context(), r.addr, 1, listener)
	defer publisher.close()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3, 25} {
		if err := all.grow(r.addr, n); err != nil {
			t.Fatal(err)
		}
		took, err := all.broadcast("hello", func() error { return publisher.conns[0].send(opText, []byte("hello")) })
		if err != nil || len(took) != n {
			t.Fatalf("%d connections received it after %v, %v", len(took), took, err)
		}
	}
	r.each(func(c *websocket.Conn) { _ = c.WriteControl(websocket.PingMessage, nil, time.Time{}) })
	r.wantPongs(t, 26, "") // one is the publisher's
	if pings, err := all.pings(); pings != 25 || err != nil {
		t.Errorf("%d pings, %v", pings, err)
	}
	r.mu.Lock()
	_ = r.conns[5].Close()
	r.mu.Unlock()
	for deadline := time.Now().Add(patience); err == nil; <-time.After(time.Millisecond) {
		if _, err = all.pings(); time.Now().After(deadline) {
			t.Fatal("the loss is not an error")
		}
	}
}

func TestServing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ n, each, want int }{{10, 10, 1}, {11, 10, 2}, {16, 10, 2}, {17, 10, 3}, {200_000, 19_000, 14}} {
		if got := serving(row.n, row.each); got != row.want {
			t.Errorf("%d connections, %d for each: %d processes, want %d", row.n, row.each, got, row.want)
		}
	}
}

// TestMain lets the tests start holders: they are processes of the test's program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-hold" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A server that does not respond as expected is an error with what it sent.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	r := serve(t)
	other := visitor
	other.text = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
	h, err := hold(t.Context(), r.addr, 1, other)
	h.close()
	if err == nil || !strings.Contains(err.Error(), "HTTP/1.1 400") && !strings.Contains(err.Error(), io.EOF.Error()) {
		t.Errorf("no handshake: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h, err = hold(ctx, r.addr, 1, visitor)
	h.close()
	if err == nil {
		t.Error("no error after the end of the context")
	}
}
