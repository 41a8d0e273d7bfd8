package uploadsocket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/pool"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

// patience is the time limit for every wait in a test.
const patience = time.Minute

// site is a server with an upload socket at /up.
type site struct {
	addr, dir string
	pool      *pool.Pool
	stop      func()     // ends the context of uploadsocket.Server.Run
	ended     chan error // result of uploadsocket.Server.Run
}

func open(t *testing.T, o uploadsocket.Options, uo uploads.Options) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), ended: make(chan error, 1)}
	s.pool = pool.New(pool.Options{Workers: 1, Queue: 10})
	uo.Pool = s.pool
	store, err := uploads.Open(s.dir, uo)
	if err != nil {
		t.Fatal(err)
	}
	sockets := uploadsocket.New(store, o)
	srv, err := server.New(server.Options{Grace: time.Second}, []server.Route{{Method: "GET", Path: "/up", Handler: func(ctx *fasthttp.RequestCtx) error {
		shake, err := upgrade.Read(ctx, "this path needs a WebSocket handshake")
		if shake == nil || err != nil {
			return err
		}
		args := ctx.QueryArgs()
		err = sockets.Serve(ctx, shake, uploadsocket.Request{
			Directory: "d", Filename: string(args.Peek("name")), Numbered: args.Has("numbered"),
			Response: func(r uploads.Response) any {
				return map[string]any{"code": r.Code, "reason": r.Reason, "files": r.Files, "more": "yes"}
			},
		})
		if errors.Is(err, upgrade.ErrLeaving) {
			return server.Fail(http.StatusServiceUnavailable, err.Error())
		}
		if err != nil {
			r := uploads.ErrorResponse(err)
			return server.Fail(r.Status(), r.Reason)
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	socketCtx, stop := context.WithCancel(ctx)
	s.stop = stop
	poolEnded, serverEnded := make(chan error, 1), make(chan error, 1)
	go func() { poolEnded <- s.pool.Run(ctx) }()
	go func() { serverEnded <- srv.Run(ctx, ln) }()
	go func() { s.ended <- sockets.Run(socketCtx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-s.ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
		cancel()
		if err := <-serverEnded; err != nil {
			t.Errorf("server: %v", err)
		}
		if err := <-poolEnded; err != nil {
			t.Errorf("pool: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// left returns the content of all files in the upload folder, by path.
func (s *site) left(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(s.dir, path)
		found[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

type client struct {
	*testing.T
	*websocket.Conn
}

func dial(t *testing.T, s *site, query string) client {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr+"/up?"+query, nil)
	if err != nil {
		t.Fatalf("dial: %v, %+v", err, resp)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return client{t, conn}
}

func (c client) send(kind int, text string) {
	c.Helper()
	if err := c.WriteMessage(kind, []byte(text)); err != nil {
		c.Fatalf("send: %v", err)
	}
}

func (c client) sendClose(code int) {
	c.Helper()
	if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(patience)); err != nil {
		c.Fatalf("close: %v", err)
	}
}

// offset reads an acknowledgement.
func (c client) offset(want int64) {
	c.Helper()
	_, text, err := c.ReadMessage()
	if err != nil || string(text) != fmt.Sprintf(`{"offset":%d}`, want) {
		c.Fatalf("got %s, %v; want offset %d", text, err, want)
	}
}

// result reads the result and the close frame after it.
func (c client) result(code, closeCode int) uploads.Response {
	c.Helper()
	var r uploads.Response
	kind, text, err := c.ReadMessage()
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if !strings.Contains(string(text), `"more":"yes"`) {
		c.Errorf("%s is not what Request.Response returns", text)
	}
	if err != nil || kind != websocket.TextMessage || r.Code != code {
		c.Fatalf("got %s, %v; want code %d", text, err, code)
	}
	c.closed(closeCode)
	return r
}

// closed reads the close frame.
func (c client) closed(code int) {
	c.Helper()
	if _, text, err := c.ReadMessage(); !websocket.IsCloseError(err, code) {
		c.Fatalf("got %q, %v; want close %d", text, err, code)
	}
}
