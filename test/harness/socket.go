package harness

import (
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
)

// SocketURL returns the server's URL with the scheme ws or wss.
func (g *Server) SocketURL() string { return strings.Replace(g.URL, "http", "ws", 1) }

// Socket opens a WebSocket. It is closed at the end of the test.
func Socket(t *testing.T, g *Server, path string) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial(g.SocketURL()+path, nil)
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, resp)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// SendMessage sends a message and returns the next one that is received.
func SendMessage(t *testing.T, conn *websocket.Conn, kind int, text string) string {
	t.Helper()
	if err := conn.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, got, err := conn.ReadMessage()
	if err != nil {
		t.Fatalf("after %q: %v", text, err)
	}
	return string(got)
}
