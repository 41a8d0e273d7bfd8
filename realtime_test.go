package main

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

func (g *gale) socketURL() string { return strings.Replace(g.url, "http", "ws", 1) }

// socket opens a WebSocket of a server.
func socket(t *testing.T, g *gale, path string) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial(g.socketURL()+path, nil)
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, resp)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Clients that nobody here wrote, on every route.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	g := start(t, t.TempDir(), "-procs", "2", "-workers", "0", "-ws-compress")
	for name, argv := range map[string][]string{
		"tornado":    {"/usr/bin/python3", "testdata/clients/tornado_client.py"},
		"websockets": {"/usr/bin/python3", "testdata/clients/websockets_client.py"},
		"npm ws":     {"node", "testdata/clients/ws_client.js"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, argv[0], argv[1], g.socketURL()).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "ok\n") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// narrow dials a WebSocket whose own buffer for what it receives is small, so
// that the server soon notices when it does not read.
func narrow(t *testing.T, g *gale, path string) *websocket.Conn {
	t.Helper()
	small := func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
		if err == nil {
			err = controlled
		}
		return err
	}
	d := websocket.Dialer{ReadBufferSize: 1024, NetDialContext: (&net.Dialer{Control: small}).DialContext}
	c, resp, err := d.Dial(g.socketURL()+path, nil)
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, resp)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const backpressureHello = "Connected to Backpressure WebSocket server!"

// A client that stops reading is paused with no more than its share of memory,
// and closed when its time is up; the server says so.
func TestBackpressureStops(t *testing.T) {
	t.Parallel()
	g := start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-ws-send-timeout", "2s")
	before := peak(t, g.slots(t)["serve.0"].PID)
	c := narrow(t, g, "/backpressure?n=10000000&ms=0")
	if _, text, err := c.ReadMessage(); err != nil || string(text) != backpressureHello {
		t.Fatalf("%q, %v", text, err)
	}
	eventually(t, "it is closed", func() bool {
		return strings.Contains(g.log.String(), "client too slow, connection closed")
	})
	slot := g.slots(t)["serve.0"]
	if grown := peak(t, slot.PID) - before; grown > 32<<20 {
		t.Errorf("the child has grown by %d KiB", grown>>10)
	}
	eventually(t, "its connection is gone", func() bool {
		var status struct{ Slots []struct{ Connections int } }
		getJSON(t, "http://"+g.admin+"/status", &status)
		return status.Slots[0].Connections == 0
	})
}

// Limits on connections hold for those that live long, as long as they live.
func TestSocketLimits(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{
		{"-max-conns", "3"},
		{"-max-conns-per-client", "3", "-trusted-proxies", ""},
	} {
		g := start(t, t.TempDir(), append(flags, "-procs", "1", "-workers", "0")...)
		held := []*websocket.Conn{socket(t, g, "/websocket"), socket(t, g, "/channels/a"), socket(t, g, "/broadcast")}
		c, resp, err := websocket.DefaultDialer.Dial(g.socketURL()+"/websocket", nil)
		if err == nil {
			c.Close()
			t.Fatalf("%v: a fourth connection", flags)
		}
		if resp == nil || resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%v: %v, %+v", flags, err, resp)
		}
		held[1].Close()
		eventually(t, "there is room again", func() bool {
			c, _, err := websocket.DefaultDialer.Dial(g.socketURL()+"/websocket", nil)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
}
