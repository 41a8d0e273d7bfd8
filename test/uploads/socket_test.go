package uploads_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// uploadSocket opens a WebSocket for an upload.
func uploadSocket(t *testing.T, g *harness.Server, query string, header http.Header, protocols ...string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: protocols}
	conn, resp, err := d.Dial(strings.Replace(g.URL, "http", "ws", 1)+"/upload"+query, header)
	if err != nil {
		t.Fatalf("dial: %v, %+v", err, resp)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	return conn
}

// The client of the seed application sends no name and reads no response.
func TestUploadSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := harness.Start(t, dir, "-procs", "1")
	for _, name := range []string{"uploaded_file.bin", "uploaded_file-1.bin"} {
		conn := uploadSocket(t, g, "", nil)
		if got := harness.SendMessage(t, conn, websocket.BinaryMessage, "chunk "); got != `{"offset":6}` {
			t.Errorf("got %s", got)
		}
		if got := harness.SendMessage(t, conn, websocket.BinaryMessage, "chunk"); got != `{"offset":11}` {
			t.Errorf("got %s", got)
		}
		if got := harness.SendMessage(t, conn, websocket.TextMessage, "done"); !strings.Contains(got, `"filename":"`+name+`"`) {
			t.Errorf("got %s; want %s", got, name)
		}
		content, err := os.ReadFile(filepath.Join(dir, "data/uploads/websocket", name))
		if err != nil || string(content) != "chunk chunk" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	sound, err := os.ReadFile("demo/inspect/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	conn := uploadSocket(t, g, "?directory=music/live&filename=speech.wav", nil)
	harness.SendMessage(t, conn, websocket.BinaryMessage, string(sound))
	var response harness.UploadResponse
	if err := json.Unmarshal([]byte(harness.SendMessage(t, conn, websocket.TextMessage, "done")), &response); err != nil || len(response.Files) != 1 {
		t.Fatalf("%+v, %v", response, err)
	}
	if task := harness.AwaitTask(t, g, response.Files[0].Task); task.State != "success" {
		t.Errorf("%+v", task)
	}
}

// The rules for tokens and origins are the same for forms, upload WebSockets and
// channels.
func TestSocketAccess(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-token", "s3cret", "-origins", "https://app.example")
	bearer := http.Header{"Authorization": {"Bearer s3cret"}}
	foreign := http.Header{"Origin": {"https://evil.example"}}
	for _, row := range []struct {
		name      string
		header    http.Header
		protocols []string
		status    int
	}{
		{"nothing", nil, nil, 401},
		{"a wrong token", http.Header{"Authorization": {"Bearer x"}}, nil, 401},
		{"a wrong token as subprotocol", nil, []string{"bearer.x"}, 401},
		{"a wrong token and a right one", http.Header{"Authorization": {"Bearer x"}}, []string{"bearer.s3cret"}, 401},
		{"the token", bearer, nil, 101},
		{"the token as subprotocol", nil, []string{"chat", "bearer.s3cret"}, 101},
		{"a page of another origin", foreign, []string{"bearer.s3cret"}, 403},
		{"a page of an allowed origin", http.Header{"Origin": {"https://app.example"}}, []string{"bearer.s3cret"}, 101},
		{"a page of the same origin", http.Header{"Origin": {g.URL}}, []string{"bearer.s3cret"}, 101},
		{"the token as base64url", nil, []string{"chat", "bearer64.czNjcmV0"}, 101},
		{"a wrong token as base64url", nil, []string{"bearer64.eA"}, 401},
		{"no base64url", nil, []string{"bearer64.czNjcmV0=", "bearer64.s3cret"}, 401},
		{"a page behind a proxy", http.Header{"Host": {"shop.example:443"}, "Origin": {"https://shop.example"}}, []string{"bearer.s3cret"}, 101},
		{"a page of another port", http.Header{"Host": {"shop.example:443"}, "Origin": {"http://shop.example"}}, []string{"bearer.s3cret"}, 403},
		{"a page by http", http.Header{"Host": {"shop.example"}, "Origin": {"http://shop.example"}, "X-Forwarded-Proto": {"https"}}, []string{"bearer.s3cret"}, 403},
	} {
		for _, path := range []string{"/upload", "/channels/a"} {
			d := websocket.Dialer{Subprotocols: row.protocols}
			conn, resp, err := d.Dial(g.SocketURL()+path, row.header)
			if resp == nil || resp.StatusCode != row.status || (err == nil) != (row.status == 101) {
				t.Errorf("%s, %s: %+v, %v", path, row.name, resp, err)
				continue
			}
			if err == nil {
				var want string
				if row.protocols != nil {
					want = row.protocols[len(row.protocols)-1]
				}
				if conn.Subprotocol() != want {
					t.Errorf("%s, %s: subprotocol %q, want %q", path, row.name, conn.Subprotocol(), want)
				}
				conn.Close()
			}
		}
	}
}

// A browser fails a WebSocket if it has offered subprotocols and the server selects
// none. So the token's subprotocol is selected even if no token is set.
func TestTokenSubprotocolWithoutToken(t *testing.T) {
	t.Parallel()
	withToken := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0", "-token", "s3cret")
	without := harness.Start(t, t.TempDir(), "-procs", "1", "-workers", "0")
	for g, paths := range map[*harness.Server][]string{
		withToken: {"/websocket", "/heartbeat", "/asyncio?n=1", "/backpressure?n=1", "/broadcast"},
		without:   {"/websocket", "/broadcast", "/channels/a", "/upload", "/console/live"},
	} {
		for _, path := range paths {
			for _, offered := range []string{"bearer.wrong", "bearer64.czNjcmV0", "bearer64.!"} {
				d := websocket.Dialer{Subprotocols: []string{"chat.v1", offered}}
				conn, resp, err := d.Dial(g.SocketURL()+path, nil)
				if err != nil {
					t.Errorf("%s, %s: %v, %+v", path, offered, err, resp)
					continue
				}
				if conn.Subprotocol() != offered {
					t.Errorf("%s, %s: subprotocol %q", path, offered, conn.Subprotocol())
				}
				conn.Close()
			}
		}
	}
}

// A child that drains waits for uploads by WebSocket, but not beyond -grace.
func TestUploadSocketDrains(t *testing.T) {
	t.Parallel()
	for name, finish := range map[string]bool{"ends in time": true, "does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			g := harness.Start(t, dir, "-procs", "1", "-workers", "0", "-grace", "6s")
			conn := uploadSocket(t, g, "?directory=d&filename=a", nil)
			harness.SendMessage(t, conn, websocket.BinaryMessage, "con")
			if err := g.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			testutil.Eventually(t, "the port is closed", func() bool { _, _, err := harness.Get(g.URL); return err != nil })
			if finish {
				harness.SendMessage(t, conn, websocket.BinaryMessage, "tent")
				if got := harness.SendMessage(t, conn, websocket.TextMessage, "done"); !strings.Contains(got, `"code":200`) {
					t.Errorf("got %s", got)
				}
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			content, err := os.ReadFile(filepath.Join(dir, "data/uploads/d/a"))
			if finish != (string(content) == "content") || finish != (err == nil) {
				t.Errorf("left %q, %v", content, err)
			}
			if cut := strings.Contains(g.Log.String(), "uploads by websocket aborted"); cut == finish {
				t.Errorf("cut off: %v", cut)
			}
			if !strings.Contains(g.Log.String(), "upload totals") {
				t.Error("the child does not say what it has taken")
			}
		})
	}
}
