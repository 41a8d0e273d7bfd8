package realtime_test

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Stock WebSocket clients use every route.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	for name, argv := range map[string][]string{
		"tornado":    {"/usr/bin/python3", "test/realtime/testdata/tornado_client.py"},
		"websockets": {"/usr/bin/python3", "test/realtime/testdata/websockets_client.py"},
		"npm ws":     {"node", "test/realtime/testdata/ws_client.js"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Each has its own server, so that it does not receive the broadcasts of others.
			g := harness.Start(t, t.TempDir(), "-procs", "2", "-workers", "0", "-ws-compress")
			ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, argv[0], argv[1], g.SocketURL()).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "ok\n") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// narrow dials a WebSocket with a small receive buffer, so that the server soon
// notices a client that does not read.
func narrow(t *testing.T, g *harness.Server, path string) *websocket.Conn {
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
	c, resp, err := d.Dial(g.SocketURL()+path, nil)
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, resp)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const backpressureHello = "Connected to Backpressure WebSocket server!"

// A client that stops reading is paused within its memory limit, and closed after
// -ws-send-timeout. The server logs it.
func TestBackpressureStops(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-ws-send-timeout", "2s")
	before := harness.PeakMemory(t, g.Slots(t)["serve.0"].PID)
	c := narrow(t, g, "/backpressure?n=10000000&ms=0")
	if _, text, err := c.ReadMessage(); err != nil || string(text) != backpressureHello {
		t.Fatalf("%q, %v", text, err)
	}
	testutil.Eventually(t, "it is closed", func() bool {
		return strings.Contains(g.Log.String(), "slow consumer, connection closed")
	})
	slot := g.Slots(t)["serve.0"]
	if grown := harness.PeakMemory(t, slot.PID) - before; grown > 32<<20 {
		t.Errorf("the memory of the child grew by %d KiB", grown>>10)
	}
	testutil.Eventually(t, "the connection is not counted any more", func() bool {
		var status struct{ Slots []struct{ Connections int } }
		harness.GetJSON(t, "http://"+g.Admin+"/status", &status)
		return status.Slots[0].Connections == 0
	})
}

// Connection limits count WebSockets for as long as they are open.
func TestSocketLimits(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{
		{"-max-conns", "3"},
		{"-max-conns-per-client", "3", "-trusted-proxies", ""},
	} {
		g := harness.Start(t, t.TempDir(), append(flags, "-procs", "1", "-workers", "0")...)
		held := []*websocket.Conn{harness.Socket(t, g, "/websocket"), harness.Socket(t, g, "/channels/a"), harness.Socket(t, g, "/broadcast")}
		c, resp, err := websocket.DefaultDialer.Dial(g.SocketURL()+"/websocket", nil)
		if err == nil {
			c.Close()
			t.Fatalf("%v: a fourth connection is accepted", flags)
		}
		if resp == nil || resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%v: %v, %+v", flags, err, resp)
		}
		held[1].Close()
		testutil.Eventually(t, "another connection is accepted", func() bool {
			c, _, err := websocket.DefaultDialer.Dial(g.SocketURL()+"/websocket", nil)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
}
