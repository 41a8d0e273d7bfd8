package upgrade_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// patience is the time limit for every wait in a test.
const patience = 30 * time.Second

// echo runs a server with a WebSocket at / that sends each message back. It returns the address
// of the server.
func echo(t *testing.T, o upgrade.Options) (addr string) {
	t.Helper()
	handler := func(ctx *fasthttp.RequestCtx) error {
		shake, err := upgrade.Read(ctx, "this is a WebSocket")
		if shake == nil || err != nil {
			return err
		}
		return shake.Take(ctx, func(taken *server.Taken) {
			go func() { // ends with the connection
				defer taken.Close()
				conn, err := shake.Accept(taken, o)
				for err == nil {
					var kind int
					var data []byte
					if kind, data, err = conn.ReadMessage(); err == nil {
						err = conn.WriteMessage(kind, data)
					}
				}
			}()
		})
	}
	srv, err := server.New(server.Options{}, []server.Route{{Method: "GET", Path: "/", Handler: handler}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

const (
	connectionField = "Connection: Upgrade\r\n"
	upgradeField    = "Upgrade: websocket\r\n"
	versionField    = "Sec-WebSocket-Version: 13\r\n"
	keyField        = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	validFields     = connectionField + upgradeField + versionField + keyField
)

// shake sends a request for / with these header fields. It returns the response, the connection,
// and a reader of the data after the response.
func shake(t *testing.T, addr, fields string) (*http.Response, net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n"+fields+"\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("%q: %v", fields, err)
	}
	return resp, conn, in
}

// A header field that is a list may have several lines (RFC 9110 §5.3). If any other field is
// repeated, the request is refused.
func TestHandshakeFields(t *testing.T) {
	t.Parallel()
	addr := echo(t, upgrade.Options{})
	for _, row := range []struct {
		name, fields string
		status       int
	}{
		{"one line each", validFields, 101},
		{"connection in two lines", "Connection: keep-alive\r\n" + validFields, 101},
		{"connection in two lines, the other way round", validFields + "Connection: keep-alive\r\n", 101},
		{"connection as a list", "Connection: keep-alive , UPGRADE\r\n" + upgradeField + versionField + keyField, 101},
		{"upgrade in two lines", "Upgrade: h2c\r\n" + validFields, 101},
		{"upgrade as a list", connectionField + "Upgrade: h2c, WebSocket\r\n" + versionField + keyField, 101},
		{"spaces around the key", connectionField + upgradeField + versionField + "Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \t\r\n", 101},
		{"no connection", upgradeField + versionField + keyField, 426},
		{"connection without upgrade", "Connection: keep-alive\r\nConnection: te\r\n" + upgradeField + versionField + keyField, 426},
		{"a token that only begins with upgrade", "Connection: upgrades\r\n" + upgradeField + versionField + keyField, 426},
		{"no upgrade", connectionField + versionField + keyField, 426},
		{"upgrade to something else", connectionField + "Upgrade: h2c\r\nUpgrade: tls/1.0\r\n" + versionField + keyField, 426},
		{"no version", connectionField + upgradeField + keyField, 426},
		{"another version", connectionField + upgradeField + "Sec-WebSocket-Version: 8\r\n" + keyField, 426},
		{"versions as a list", connectionField + upgradeField + "Sec-WebSocket-Version: 13, 8\r\n" + keyField, 426},
		{"version twice", validFields + versionField, 400},
		{"version twice, differing", validFields + "Sec-WebSocket-Version: 8\r\n", 400},
		{"no key", connectionField + upgradeField + versionField, 400},
		{"short key", connectionField + upgradeField + versionField + "Sec-WebSocket-Key: c2hvcnQ=\r\n", 400},
		{"key twice", validFields + keyField, 400},
		{"key twice, differing", validFields + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 400},
		{"authorization twice", validFields + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400},
		{"origin twice", validFields + "Origin: http://test\r\nOrigin: http://evil\r\n", 400},
	} {
		resp, _, _ := shake(t, addr, row.fields)
		if resp.StatusCode != row.status || row.status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%s: %d, %v", row.name, resp.StatusCode, resp.Header)
		}
		if accept := resp.Header.Get("Sec-WebSocket-Accept"); row.status == 101 && accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("%s: accept %q", row.name, accept) // RFC 6455 §1.3
		}
	}
}

func TestSubprotocol(t *testing.T) {
	t.Parallel()
	const name = "Sec-WebSocket-Protocol: "
	addr := echo(t, upgrade.Options{Protocols: []string{"b", "a"}})
	for fields, want := range map[string]string{
		"":                                        "",
		name + "c\r\n":                            "",
		name + "a\r\n":                            "a",
		name + "c, a, b\r\n":                      "a", // the client's order
		name + "c\r\n" + name + "b\r\n":           "b",
		name + "bearer.x\r\n":                     "bearer.x",
		name + "bearer64.eC8rPQ\r\n":              "bearer64.eC8rPQ",
		name + "bearer64.not=base64\r\n":          "bearer64.not=base64",
		name + "bearer.x, bearer.y\r\n":           "bearer.x",
		name + "bearer.x, a\r\n":                  "a", // a browser accepts any subprotocol that it has offered
		name + "c, bearer.x\r\n":                  "bearer.x",
		name + "bearer.x\r\n" + name + "b\r\n":    "b",
		name + "bearers\r\n" + name + "c , ,\r\n": "",
	} {
		resp, _, _ := shake(t, addr, validFields+fields)
		if got := resp.Header.Values("Sec-WebSocket-Protocol"); resp.StatusCode != http.StatusSwitchingProtocols || strings.Join(got, "|") != want {
			t.Errorf("%q: %d, %q; want %q", fields, resp.StatusCode, got, want)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for offer, want := range map[string]struct {
		token   string
		offered bool
	}{
		"":                           {"", false},
		"chat, bearer":               {"", false},
		"bearer.":                    {"", true},
		"bearer.s3cret":              {"s3cret", true},
		"chat,bearer.s3cret":         {"s3cret", true},
		"bearer.a, bearer.b":         {"a", true},
		"bearer.a.b":                 {"a.b", true},
		"bearer64.YS9iKz0":           {"a/b+=", true},
		"bearer64.YS9iKz0, bearer.b": {"a/b+=", true},
		"bearer64.YS9iKz0=":          {"", true}, // padded
		"bearer64.YS9iKz1":           {"", true}, // unused bits are not zero
		"bearer64.a+b/":              {"", true}, // base64, not base64url
		"bearer64.":                  {"", true},
	} {
		var h fasthttp.RequestHeader
		h.Set("Sec-WebSocket-Protocol", offer)
		if token, offered := upgrade.Bearer(&h); token != want.token || offered != want.offered {
			t.Errorf("%q: %q, %v", offer, token, offered)
		}
	}
}

const deflated = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// Offers of RFC 7692 §7.1 that are accepted, and offers that must be declined.
func TestDeflateOffers(t *testing.T) {
	t.Parallel()
	addr := echo(t, upgrade.Options{Compress: true})
	const name = "Sec-WebSocket-Extensions: "
	for offer, accepted := range map[string]bool{
		"":                        false,
		"permessage-deflate":      true,
		"x-webkit-deflate-frame":  false,
		"permessage-deflate-more": false,
		"permessage-deflate; client_max_window_bits":                                      true, // browsers
		"permessage-deflate; client_max_window_bits=15":                                   true,
		"permessage-deflate; client_max_window_bits=8":                                    true,
		`permessage-deflate; client_max_window_bits="10"`:                                 true,
		"permessage-deflate;server_no_context_takeover ; client_no_context_takeover":      true,
		"permessage-deflate; server_max_window_bits=10":                                   false,
		"permessage-deflate; server_max_window_bits=15":                                   false,
		"permessage-deflate; server_max_window_bits":                                      false,
		"permessage-deflate; client_max_window_bits; server_max_window_bits=10":           false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":               true, // §7.1.3
		"permessage-deflate; client_max_window_bits=10, permessage-deflate; x":            true,
		`x; a="b, permessage-deflate"`:                                                    false,
		`x; a="b, c;\"d", permessage-deflate`:                                             true,
		`x; a="open, permessage-deflate`:                                                  false,
		"permessage-deflate; client_max_window_bits=7":                                    false,
		"permessage-deflate; client_max_window_bits=16":                                   false,
		"permessage-deflate; client_max_window_bits=08":                                   false,
		"permessage-deflate; client_max_window_bits=+9":                                   false,
		"permessage-deflate; client_max_window_bits=":                                     false,
		"permessage-deflate; client_max_window_bits=x":                                    false,
		"permessage-deflate; client_max_window_bits; client_max_window_bits":              false,
		"permessage-deflate; client_max_window_bits=9; client_max_window_bits=10":         false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":      false,
		"permessage-deflate; server_no_context_takeover=1":                                false,
		"permessage-deflate; client_no_context_takeover=":                                 false,
		"permessage-deflate; unknown":                                                     false,
		"permessage-deflate; ":                                                            false,
		"permessage-deflate; unknown\r\n" + name + "permessage-deflate":                   true,
		"permessage-deflate; server_max_window_bits=9\r\n" + name + "permessage-bzip2; a": false,
	} {
		resp, _, _ := shake(t, addr, validFields+name+offer+"\r\n")
		want := ""
		if accepted {
			want = deflated
		}
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); resp.StatusCode != http.StatusSwitchingProtocols || got != want {
			t.Errorf("%q: %d, %q", offer, resp.StatusCode, got)
		}
	}
	plain := echo(t, upgrade.Options{})
	if resp, _, _ := shake(t, plain, validFields+name+"permessage-deflate\r\n"); resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Error("compression was confirmed although Options.Compress is false")
	}
}

// With compression, every message can be decompressed without the messages before it, in both
// directions. Without compression, a compressed frame is a protocol error.
func TestDeflateMessages(t *testing.T) {
	t.Parallel()
	addr := echo(t, upgrade.Options{Compress: true})
	const offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
	_, conn, in := shake(t, addr, validFields+offer+"\r\n")
	for _, text := range []string{"Hello", strings.Repeat("Hello, world! ", 3000), "Hello"} {
		if _, err := conn.Write(frame(0xc1, deflate(t, text))); err != nil {
			t.Fatal(err)
		}
		var whole []byte
		for first := byte(0); first&0x80 == 0; {
			var payload []byte
			first, payload = next(t, in)
			if compressed := first&0x40 != 0; compressed != (len(whole) == 0) {
				t.Fatalf("frame %x after %d bytes", first, len(whole))
			}
			whole = append(whole, payload...)
		}
		if got := inflate(t, whole); got != text {
			t.Fatalf("got %.40q, want %.40q", got, text)
		}
		if len(text) > 1000 && len(whole) > len(text)/10 {
			t.Errorf("%d bytes were sent as %d", len(text), len(whole))
		}
	}
	_, conn, in = shake(t, addr, validFields+offer+"; server_max_window_bits=10\r\n")
	if _, err := conn.Write(append(frame(0x81, []byte("plain")), frame(0xc1, deflate(t, "Hello"))...)); err != nil {
		t.Fatal(err)
	}
	if first, payload := next(t, in); first != 0x81 || string(payload) != "plain" {
		t.Errorf("got %x %q", first, payload)
	}
	if first, payload := next(t, in); first != 0x88 || binary.BigEndian.Uint16(payload) != 1002 {
		t.Errorf("a compressed frame without compression: %x %q", first, payload)
	}
}

// frame returns a frame as a client sends it, masked.
func frame(first byte, payload []byte) []byte {
	mask := [4]byte{1, 2, 3, 4}
	out := []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))}
	if len(payload) < 126 {
		out = []byte{first, 0x80 | byte(len(payload))}
	}
	out = append(out, mask[:]...)
	for i, b := range payload {
		out = append(out, b^mask[i%4])
	}
	return out
}

// next reads a frame of the server.
func next(t *testing.T, in *bufio.Reader) (first byte, payload []byte) {
	t.Helper()
	var head [2]byte
	_, err := io.ReadFull(in, head[:])
	length := int(head[1])
	if length == 126 && err == nil {
		var more [2]byte
		_, err = io.ReadFull(in, more[:])
		length = int(binary.BigEndian.Uint16(more[:]))
	}
	payload = make([]byte, length)
	if err == nil {
		_, err = io.ReadFull(in, payload)
	}
	if err != nil {
		t.Fatal(err)
	}
	return head[0], payload
}

// deflate compresses a message without context takeover (RFC 7692 §7.2.1).
func deflate(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func inflate(t *testing.T, data []byte) string {
	t.Helper()
	const end = "\x00\x00\xff\xff\x01\x00\x00\xff\xff" // end of the message, and end of the DEFLATE stream
	text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader(end))))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Handshakes have nothing of earlier ones or of those at the same time, although they use the same
// memory.
func TestHandshakesAreIndependent(t *testing.T) {
	t.Parallel()
	addr := echo(t, upgrade.Options{Protocols: []string{"chat"}, Compress: true})
	const deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	var mu sync.Mutex
	ids := map[string]bool{}
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for i := range 20 {
				nonce := fmt.Appendf(nil, "client %02d try %02d", client, i) // 16 bytes
				key := base64.StdEncoding.EncodeToString(nonce)
				fields, protocol, extension := connectionField+upgradeField+versionField+"Sec-WebSocket-Key: "+key+"\r\n", "", ""
				if i%3 == 1 {
					protocol = "chat"
					fields += "Sec-WebSocket-Protocol: chat\r\n"
				}
				if i%4 == 1 {
					extension = deflate
					fields += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
				}
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n"+fields+"\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				_ = conn.Close()
				if err != nil {
					t.Error(err)
					return
				}
				sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				h := resp.Header
				if resp.StatusCode != http.StatusSwitchingProtocols || h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) ||
					h.Get("Sec-WebSocket-Protocol") != protocol || h.Get("Sec-WebSocket-Extensions") != extension {
					t.Errorf("client %d, try %d: %d %v", client, i, resp.StatusCode, h)
				}
				mu.Lock()
				if id := h.Get("X-Request-Id"); id == "" || ids[id] {
					t.Errorf("the request id %q is empty or not new", id)
				} else {
					ids[id] = true
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
}
