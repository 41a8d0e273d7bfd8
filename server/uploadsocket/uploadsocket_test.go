package uploadsocket_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

func TestUpload(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{}, uploads.Options{})
	c := dial(t, s, "name=a.bin")
	large := strings.Repeat("0123456789abcdef", 3<<16)
	c.send(websocket.BinaryMessage, "one ")
	c.offset(4)
	c.send(websocket.BinaryMessage, "")
	c.offset(4)
	c.send(websocket.BinaryMessage, large)
	c.offset(int64(4 + len(large)))
	w, err := c.NextWriter(websocket.BinaryMessage) // one message of several frames
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c.offset(int64(4 + len(large) + 10_000))
	if left := s.left(t); len(left) != 0 {
		t.Errorf("before the end: %v", left)
	}
	c.send(websocket.TextMessage, "done")
	r := c.result(200, websocket.CloseNormalClosure)
	want := "one " + large + strings.Repeat("x", 10_000)
	if f := r.Files[0]; len(r.Files) != 1 || f.Size != int64(len(want)) || f.Directory != "d" || f.Filename != "a.bin" {
		t.Errorf("result %+v", r)
	}
	if left := s.left(t); len(left) != 1 || left["d/a.bin"] != want {
		t.Errorf("left %d files", len(left))
	}
}

func TestCleanClosePublishes(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{}, uploads.Options{})
	for i, code := range []int{websocket.CloseNormalClosure, websocket.CloseNoStatusReceived} {
		c := dial(t, s, "name=x.bin&numbered=1")
		c.send(websocket.BinaryMessage, "content")
		c.offset(7)
		c.sendClose(code)
		r := c.result(200, websocket.CloseNormalClosure)
		if want := []string{"x.bin", "x-1.bin"}[i]; r.Files[0].Filename != want {
			t.Errorf("stored as %s; want %s", r.Files[0].Filename, want)
		}
	}
	c := dial(t, s, "name=y.bin")
	c.sendClose(websocket.CloseNormalClosure)
	c.result(uploads.CodeNoFile, websocket.ClosePolicyViolation)
	c = dial(t, s, "name=empty.bin")
	c.send(websocket.TextMessage, "done")
	c.result(200, websocket.CloseNormalClosure)
	if left := s.left(t); len(left) != 3 || left["d/x-1.bin"] != "content" {
		t.Errorf("left %v", left)
	}
}

// If an upload ends in any other way than with done or a clean close, no file is left.
func TestInterruptedUploadIsDiscarded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		end       func(c client)
		code      int // code of the result; 0 if there is no result
		closeCode int // 0 if there is no close frame
	}{
		"close code 1001": {func(c client) { c.sendClose(websocket.CloseGoingAway) }, 0, 0},
		"lost connection": {func(c client) { c.NetConn().Close() }, 0, 0},
		"close within a message": {func(c client) {
			if _, err := c.NetConn().Write([]byte{0x02, 0x81, 0, 0, 0, 0, 'x', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}); err != nil {
				c.Fatal(err)
			}
		}, 0, 0},
		"lost connection within a frame": {func(c client) {
			if _, err := c.NetConn().Write([]byte{0x82, 0x85, 0, 0, 0, 0, 'x'}); err != nil {
				c.Fatal(err)
			}
			c.NetConn().Close()
		}, 0, 0},
		"a frame without a mask": {func(c client) { _, _ = c.NetConn().Write([]byte{0x82, 0x01, 'x'}) }, 0, 0},
		"silence":                {func(client) {}, 0, 0},
		"another text":           {func(c client) { c.send(websocket.TextMessage, "Done") }, 400, websocket.CloseUnsupportedData},
		"a long text":            {func(c client) { c.send(websocket.TextMessage, strings.Repeat("ü", 1<<20)) }, 400, websocket.CloseUnsupportedData},
		"text that is not UTF-8": {func(c client) { c.send(websocket.TextMessage, "don\xff") }, 0, websocket.CloseInvalidFramePayloadData},
		"too large":              {func(c client) { c.send(websocket.BinaryMessage, strings.Repeat("x", 2<<20)) }, 413, websocket.CloseMessageTooBig},
		"name in use":            {func(c client) { c.send(websocket.TextMessage, "done") }, 501, websocket.ClosePolicyViolation},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var meter uploads.Counters
			o := uploadsocket.Options{IdleTimeout: patience}
			if name == "silence" {
				o.IdleTimeout = 600 * time.Millisecond
			}
			s := open(t, o, uploads.Options{MaxFile: 1 << 20, Meter: &meter})
			c := dial(t, s, "name=a.bin")
			c.send(websocket.BinaryMessage, "content")
			c.offset(7)
			if row.code == uploads.CodeExists {
				if err := os.MkdirAll(filepath.Join(s.dir, "d/a.bin/x"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if name == "silence" {
				c.SetPingHandler(func(string) error { return nil })
			}
			row.end(c)
			switch {
			case row.code != 0:
				c.result(row.code, row.closeCode)
			case row.closeCode != 0:
				c.closed(row.closeCode)
			default:
				for err := error(nil); err == nil; {
					_, _, err = c.ReadMessage()
				}
			}
			testutil.Eventually(t, "the upload has ended", func() bool { return meter.Stats().Open == 0 })
			if left := s.left(t); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

// An upload may take longer than IdleTimeout if the client responds to pings.
func TestPongsExtendDeadline(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // far longer than the client needs for a pong
	s := open(t, uploadsocket.Options{IdleTimeout: timeout}, uploads.Options{})
	c := dial(t, s, "name=a.bin")
	pings := make(chan struct{}, 100)
	c.SetPingHandler(func(data string) error {
		pings <- struct{}{}
		return c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	go func() { // ends with the first ping after two timeouts
		for begin := time.Now(); time.Since(begin) < 2*timeout; {
			<-pings
		}
		_ = c.WriteMessage(websocket.TextMessage, []byte("done"))
	}()
	c.result(200, websocket.CloseNormalClosure)
}

// While a write to disk is blocked, nothing is acknowledged, and only one chunk and the buffers
// of the kernel are filled.
func TestSlowDiskStopsReading(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{}, uploads.Options{})
	c := dial(t, s, "name=a.bin")
	c.send(websocket.BinaryMessage, "content")
	c.offset(7)
	free := make(chan struct{})
	blocked := make(chan error, 1)
	go func() { // ends with free
		blocked <- s.pool.Do(context.Background(), func(context.Context) error { <-free; return nil })
	}()
	testutil.Eventually(t, "the pool is busy", func() bool { return s.pool.Stats().Running == 1 })
	const size = 64 << 20
	sent := make(chan error, 1)
	go func() { sent <- c.WriteMessage(websocket.BinaryMessage, make([]byte, size)) }() // ends when the server has read the message
	testutil.Eventually(t, "a chunk waits for the pool", func() bool { return s.pool.Stats().Waiting == 1 })
	select {
	case err := <-sent:
		t.Errorf("64 MiB were read while the disk was busy: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	close(free)
	if err := <-blocked; err != nil {
		t.Error(err)
	}
	c.offset(7 + size)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	c.send(websocket.TextMessage, "done")
	c.result(200, websocket.CloseNormalClosure)
}

func TestRunWaitsForUploads(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{Grace: patience}, uploads.Options{})
	c := dial(t, s, "name=a.bin")
	c.send(websocket.BinaryMessage, "con")
	c.offset(3)
	s.stop()
	waitUntilRefused(t, s)
	c.send(websocket.BinaryMessage, "tent")
	c.offset(7)
	c.send(websocket.TextMessage, "done")
	c.result(200, websocket.CloseNormalClosure)
}

// waitUntilRefused waits until the server refuses new uploads.
func waitUntilRefused(t *testing.T, s *site) {
	t.Helper()
	testutil.Eventually(t, "uploads are refused", func() bool {
		conn, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/up?name=late.bin", nil)
		if err == nil {
			conn.Close()
		}
		return err != nil && resp != nil && resp.StatusCode == http.StatusServiceUnavailable
	})
}

func TestRunAbortsAfterGrace(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{Grace: 100 * time.Millisecond}, uploads.Options{})
	c := dial(t, s, "name=a.bin")
	c.send(websocket.BinaryMessage, "content")
	c.offset(7)
	s.stop()
	c.result(uploads.CodeInternal, websocket.CloseServiceRestart)
	if left := s.left(t); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	s := open(t, uploadsocket.Options{}, uploads.Options{})
	if err := os.MkdirAll(filepath.Join(s.dir, "d", "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	validHeader := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, row := range []struct {
		method, query, header, value string
		status                       int
	}{
		{"GET", "name=a", "", "", 101},
		{"GET", "name=a", "Connection", "keep-alive, upgrade", 101},
		{"GET", "name=a", "Sec-WebSocket-Protocol", "x, bearer.t", 101},
		{"GET", "name=a", "Connection", "keep-alive", 426},
		{"GET", "name=a", "Upgrade", "h2c", 426},
		{"GET", "name=a", "Sec-WebSocket-Version", "8", 426},
		{"HEAD", "name=a", "", "", 426},
		{"GET", "name=a", "Sec-WebSocket-Key", "short", 400},
		{"GET", "name=a", "Sec-WebSocket-Key", "c2hvcnQ=", 400},
		{"GET", "name=a", "Sec-WebSocket-Key", "", 400},
		{"GET", "name=..", "", "", 400},
		{"GET", "name=taken", "", "", 409},
		{"GET", "name=taken&numbered", "", "", 101},
	} {
		req, err := http.NewRequest(row.method, "http://"+s.addr+"/up?"+row.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range validHeader {
			req.Header.Set(name, value)
		}
		if row.header != "" {
			req.Header.Set(row.header, row.value)
		}
		resp, err := new(http.Transport).RoundTrip(req)
		if err != nil {
			t.Fatalf("%+v: %v", row, err)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			if body, err := io.ReadAll(resp.Body); err != nil || row.method == "GET" && !strings.Contains(string(body), `"reason":`) {
				t.Errorf("%+v: %q, %v", row, body, err)
			}
		} else if accept := resp.Header.Get("Sec-WebSocket-Accept"); accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("%+v: accept %q", row, accept) // RFC 6455 §1.3
		}
		resp.Body.Close()
		if resp.StatusCode != row.status || row.status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%+v: status %d, %v", row, resp.StatusCode, resp.Header)
		}
		if want := row.status == 101 && strings.Contains(row.value, "bearer.t"); want != (resp.Header.Get("Sec-WebSocket-Protocol") == "bearer.t") {
			t.Errorf("%+v: %v", row, resp.Header)
		}
	}
}
