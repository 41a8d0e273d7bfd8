package realtime_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/realtime"
)

// A request without a valid handshake is refused, and no connection is opened.
func TestHandshakeRefused(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{}, echoes)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"no key":         {upgradeHead, 400},
		"short key":      {upgradeHead + "Sec-WebSocket-Key: short\r\n", 400},
		"key too long":   {upgradeHead + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4eHh4eA==\r\n", 400},
		"no upgrade":     {"GET / HTTP/1.1\r\nHost: test\r\n" + key, 426},
		"old version":    {strings.Replace(upgradeHead, "13", "8", 1) + key, 426},
		"HTTP/1.0":       {strings.Replace(upgradeHead, "HTTP/1.1", "HTTP/1.0", 1) + key, 426},
		"another method": {strings.Replace(upgradeHead, "GET", "POST", 1) + "Content-Length: 0\r\n" + key, 405},
	} {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(nc, c.head+"Connection: close, Upgrade\r\n\r\n")
		response, err := io.ReadAll(nc)
		nc.Close()
		if err != nil || !strings.HasPrefix(string(response), "HTTP/1.1 "+strconv.Itoa(c.status)) {
			t.Errorf("%s: %v\n%s", name, err, response)
		}
		if c.status == 426 && !strings.Contains(string(response), "Sec-WebSocket-Version: 13\r\n") && !strings.Contains(string(response), "Sec-Websocket-Version: 13\r\n") {
			t.Errorf("%s: the response has no Sec-WebSocket-Version\n%s", name, response)
		}
	}
	if n := s.hub.Len(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

func TestSubprotocol(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{}, func() realtime.Handler {
		return &events{open: func(c *realtime.Conn) { _ = c.Send(context.Background(), realtime.Text(c.Subprotocol())) }}
	})
	for offered, want := range map[string]string{"x, a, b": "a", "x": "", "": ""} {
		d := websocket.Dialer{}
		if offered != "" {
			d.Subprotocols = strings.Split(offered, ", ")
		}
		c, _, err := d.Dial("ws://"+s.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, c, want)
		if c.Subprotocol() != want {
			t.Errorf("offered %q: the response names %q", offered, c.Subprotocol())
		}
		c.Close()
	}
}

// Closed is called once, no matter which side ends the connection and how.
func TestClosed(t *testing.T) {
	t.Parallel()
	type end struct {
		code   int
		reason string
	}
	ends := make(chan end, 10)
	s := open(t, realtime.Options{MaxMessage: 1000}, func() realtime.Handler {
		return &events{
			message: func(c *realtime.Conn, m realtime.Message) {
				switch string(m.Data) {
				case "close":
					_ = c.Send(context.Background(), realtime.Text("before"))
					c.Close(4001, strings.Repeat("é", 100))
					if err := c.Send(context.Background(), realtime.Text("too late")); !errors.Is(err, realtime.ErrClosed) {
						t.Errorf("Send after Close: %v", err)
					}
				case "panic":
					panic("test")
				}
			},
			closed: func(code int, reason string) { ends <- end{code, reason} },
		}
	})
	for _, c := range []struct {
		name string
		do   func(*websocket.Conn)
		want end
	}{
		{"the client closes", func(c *websocket.Conn) {
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "enough"), time.Now().Add(patience))
			wantClose(t, c, 4000)
		}, end{4000, "enough"}},
		{"the client closes the TCP connection", func(c *websocket.Conn) { c.Close() }, end{code: 1006}},
		{"the client resets the TCP connection", func(c *websocket.Conn) {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			c.Close()
		}, end{code: 1006}},
		{"the server closes", func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte("close"))
			wantText(t, c, "before")
			wantClose(t, c, 4001)
		}, end{4001, strings.Repeat("é", 100)}},
		{"too long", func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, make([]byte, 1001))
			wantClose(t, c, 1009)
		}, end{1009, "message too long"}},
		{"not UTF-8", func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte("\xff"))
			wantClose(t, c, 1007)
		}, end{1007, "text is not UTF-8"}},
		{"the handler panics", func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.TextMessage, []byte("panic"))
			wantClose(t, c, 1011)
		}, end{1011, "internal error"}},
	} {
		c.do(dial(t, s))
		select {
		case got := <-ends:
			if got.code != c.want.code || c.want.reason != "" && got.reason != c.want.reason {
				t.Errorf("%s: %+v", c.name, got)
			}
		case <-time.After(patience):
			t.Fatalf("%s: Closed is never called", c.name)
		}
	}
	testutil.Eventually(t, "no connection is open", func() bool { return s.hub.Len() == 0 })
	if len(ends) > 0 {
		t.Errorf("Closed was called again: %+v", <-ends)
	}
}

// A connection whose client does not respond to a close frame is aborted after five
// seconds, and the handler gets the close code that the server sent.
func TestCloseWithoutResponse(t *testing.T) {
	t.Parallel()
	codes := make(chan int, 1)
	s := open(t, realtime.Options{}, func() realtime.Handler {
		return &events{
			open:   func(c *realtime.Conn) { c.Close(4002, "go") },
			closed: func(code int, _ string) { codes <- code },
		}
	})
	dialRaw(t, s, "")
	select {
	case code := <-codes:
		if code != 4002 {
			t.Errorf("closed with %d", code)
		}
	case <-time.After(patience):
		t.Fatal("the connection was not closed")
	}
}

// A client that does not respond to pings is disconnected.
func TestPing(t *testing.T) {
	t.Parallel()
	ends := make(chan string, 2)
	const timeout = 3 * time.Second // far longer than the responsive client needs for a pong
	s := open(t, realtime.Options{PingInterval: 200 * time.Millisecond, PongTimeout: timeout}, func() realtime.Handler {
		return &events{closed: func(_ int, reason string) { ends <- reason }}
	})
	responsive := dial(t, s)
	pings := make(chan struct{}, 1000)
	responsive.SetPingHandler(func(data string) error {
		pings <- struct{}{}
		return responsive.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	go func() { _, _, _ = responsive.ReadMessage() }() // ends with the test
	dial(t, s)                                         // does not read, so it sends no pongs
	select {
	case reason := <-ends:
		if reason != "ping timeout" {
			t.Errorf("ended: %s", reason)
		}
	case <-time.After(patience):
		t.Fatal("the silent client is still connected")
	}
	for begin := time.Now(); time.Since(begin) < 2*timeout; {
		<-pings
	}
	if n := s.hub.Len(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A client is not disconnected while its message is being handled: its pongs are not read
// during that time.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	const timeout = 3 * time.Second // far longer than the client needs for a pong
	s := open(t, realtime.Options{PingInterval: 200 * time.Millisecond, PongTimeout: timeout}, func() realtime.Handler {
		return &events{message: func(c *realtime.Conn, m realtime.Message) {
			<-release
			_ = c.Send(context.Background(), m)
		}}
	})
	c := dial(t, s)
	begin, released := time.Now(), false
	c.SetPingHandler(func(data string) error {
		if !released && time.Since(begin) > 2*timeout {
			released = true
			close(release)
		}
		return c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, "hello")
}

// Send blocks while the queue of a client that reads slowly is full. No message is lost.
func TestSendBlocks(t *testing.T) {
	t.Parallel()
	const size, count = 64 << 10, 400 // far more than the queue and the socket buffers
	var sent atomic.Int64
	finished := make(chan struct{})
	s := open(t, realtime.Options{Queue: 4 * size}, func() realtime.Handler {
		return &events{open: func(c *realtime.Conn) {
			c.Go(func(ctx context.Context) {
				defer close(finished)
				for i := range count {
					if err := c.Send(ctx, realtime.Message{Binary: true, Data: bytes.Repeat([]byte{byte(i)}, size)}); err != nil {
						t.Error(err)
						return
					}
					sent.Add(1)
				}
			})
		}}
	})
	c := dial(t, s)
	last := int64(-1)
	testutil.Eventually(t, "Send blocks", func() bool {
		now := sent.Load()
		blocked := now == last && now > 0
		last = now
		return blocked
	})
	if n := sent.Load(); n == count {
		t.Fatal("Send never blocked, although the client reads nothing")
	}
	for i := range count {
		_, data, err := c.ReadMessage()
		if err != nil || len(data) != size || data[0] != byte(i) {
			t.Fatalf("message %d: %d bytes, %v", i, len(data), err)
		}
	}
	<-finished
}

// If a client reads nothing for SendTimeout, its connection is closed, and Send returns an
// error.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	log := new(testutil.LogBuffer)
	ends := make(chan int, 1)
	failed := make(chan error, 1)
	o := realtime.Options{SendTimeout: 300 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))}
	s := open(t, o, func() realtime.Handler {
		return &events{
			open: func(c *realtime.Conn) {
				c.Go(func(ctx context.Context) {
					for {
						if err := c.Send(ctx, realtime.Message{Data: bytes.Repeat([]byte("x"), 1<<20)}); err != nil {
							failed <- err
							return
						}
					}
				})
			},
			closed: func(code int, _ string) { ends <- code },
		}
	})
	dial(t, s)
	select {
	case code := <-ends:
		if code != 1013 {
			t.Errorf("closed with %d", code)
		}
	case <-time.After(patience):
		t.Fatal("the connection was not closed")
	}
	if err := <-failed; !errors.Is(err, realtime.ErrClosed) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "slow consumer, connection closed") {
		t.Errorf("log: %s", log)
	}
}

// MessageRate limits the rate of messages, and no message is lost.
func TestMessageRate(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{MessageRate: 50}, echoes)
	c := dial(t, s)
	began := time.Now()
	for range 101 {
		if err := c.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range 101 {
		wantText(t, c, "x")
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("101 messages in %v at 50 a second", took)
	}
}

func TestCompress(t *testing.T) {
	t.Parallel()
	s := open(t, realtime.Options{Compress: true, MaxMessage: 1 << 20}, echoes)
	d := websocket.Dialer{EnableCompression: true}
	c, resp, err := d.Dial("ws://"+s.addr, nil)
	if err != nil || !strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Fatalf("%+v, %v", resp, err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	long := strings.Repeat("compress me ", 1000)
	if err := c.WriteMessage(websocket.TextMessage, []byte(long)); err != nil {
		t.Fatal(err)
	}
	wantText(t, c, long)
	// The limit applies after decompression.
	if err := c.WriteMessage(websocket.TextMessage, make([]byte, 1<<20+1)); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1009)
}
