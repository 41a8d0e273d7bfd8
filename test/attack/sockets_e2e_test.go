//go:build e2e

package attack_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// bomb is the size of what a compression bomb decompresses to.
const bomb = 200 << 20

// First bytes of frames (RFC 6455 §5.2).
const (
	frameMore       = 0x00 // continuation, not the last one
	frameText       = 0x81 // text, whole message
	frameTextBegin  = 0x01 // text, first fragment
	framePing       = 0x89
	frameCompressed = 0xc2 // binary, whole message, compressed (RFC 7692)
)

// frame returns a masked frame. The key of the mask is zero.
func frame(first byte, payload []byte) []byte {
	head := []byte{first}
	switch n := len(payload); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	return append(append(head, 0, 0, 0, 0), payload...)
}

// dialSocket opens a WebSocket and returns its connection, for frames that a WebSocket
// library does not send.
func dialSocket(t *testing.T, g *harness.Server, path string, compression bool) net.Conn {
	t.Helper()
	d := websocket.Dialer{EnableCompression: compression}
	c, resp, err := d.Dial(g.SocketURL()+path, nil)
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, resp)
	}
	t.Cleanup(func() { _ = c.Close() })
	if compression != strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Fatalf("%s: extensions: %q", path, resp.Header.Get("Sec-WebSocket-Extensions"))
	}
	return c.NetConn()
}

// socketFrames sends the smallest frames as fast as the server reads them: messages, pings,
// and fragments of a message without an end. Half of the clients read nothing.
func socketFrames(t *testing.T, g *harness.Server, p *prober) {
	done := make(chan struct{})
	var all []net.Conn
	var writers, readers sync.WaitGroup
	for i := range 48 {
		begin, each := []byte(nil), frame(frameText, []byte("x"))
		switch i % 3 {
		case 1:
			each = frame(framePing, nil)
		case 2:
			begin, each = frame(frameTextBegin, nil), frame(frameMore, nil)
		}
		path := []string{"/websocket", "/broadcast", "/asyncio", "/channels/flood"}[i%4]
		c := dialSocket(t, g, path, false)
		if _, err := c.Write(begin); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			readers.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
		writers.Go(func() { repeat(c, bytes.Repeat(each, 10_000), done) })
		all = append(all, c)
	}
	p.await(t, probeRounds)
	close(done)
	for _, c := range all {
		_ = c.Close() // ends its reader
	}
	writers.Wait()
	readers.Wait()
}

// compressionBombs sends requests and messages that are small until they are decompressed.
func compressionBombs(t *testing.T, g *harness.Server, p *prober) {
	zip := compressed(t, bomb, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	for _, path := range []string{"/tasks", "/upload", "/start-task", "/publish/news"} {
		for _, coding := range []string{"gzip", "gzip, gzip", "br"} {
			status, err := send(g, "POST", path, string(zip), []string{"Content-Encoding", coding})
			if err != nil || status != http.StatusUnsupportedMediaType && status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s with %s: status %d, %v", path, coding, status, err)
			}
		}
	}
	deflated := compressed(t, bomb, func(w io.Writer) io.WriteCloser {
		z, err := flate.NewWriter(w, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		return z
	})
	message := frame(frameCompressed, deflated)
	// By default the extension is not negotiated, so a compressed frame breaks the protocol.
	wantClose(t, dialSocket(t, g, "/websocket", false), message, websocket.CloseProtocolError)

	zipped := harness.Start(t, t.TempDir(), "-ws-compress")
	stop := watchMemory(t, zipped)
	var all sync.WaitGroup
	for range 16 {
		c := dialSocket(t, zipped, "/websocket", true)
		all.Go(func() { wantClose(t, c, message, websocket.CloseMessageTooBig) })
	}
	all.Wait()
	if most := stop(); most > bomb*2 {
		t.Errorf("the server with -ws-compress used %d MiB", most>>20)
	}
	if status, err := send(zipped, "GET", "/", "", nil); err != nil || status != http.StatusOK {
		t.Errorf("after the bombs: status %d, %v", status, err)
	}
	p.await(t, probeRounds)
}

// wantClose sends a frame and reads until the server closes the WebSocket with the code.
func wantClose(t *testing.T, c net.Conn, message []byte, code int) {
	go func() { _, _ = c.Write(message) }() // ends with the connection
	_ = c.SetReadDeadline(time.Now().Add(testutil.Patience))
	text, err := io.ReadAll(c)
	want := binary.BigEndian.AppendUint16(nil, uint16(code))
	for len(text) >= 2 { // frames of the server: short, without a mask
		n := int(text[1])
		if text[0] == 0x88 && len(text) >= 4 && bytes.Equal(text[2:4], want) {
			return
		}
		text = text[min(2+n, len(text)):]
	}
	t.Errorf("the server did not close with %d: %v", code, err)
}
