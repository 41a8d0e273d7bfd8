package uploadsocket_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
	"github.com/galeserver/gale/server/uploadsocket"
	"github.com/galeserver/gale/uploads"
)

// uploadRoute receives a file over a WebSocket, at a path with its name.
func uploadRoute(sockets *uploadsocket.Server) server.Route {
	return server.Route{Method: http.MethodGet, Path: "/files/{name}", Handler: func(ctx *fasthttp.RequestCtx) error {
		h, err := upgrade.Read(ctx, "this path needs a WebSocket handshake")
		if h == nil || err != nil {
			return err
		}
		return sockets.Serve(ctx, h, uploadsocket.Request{Directory: "inbox", Filename: server.Param(ctx, "name")})
	}}
}

// sendFile sends a file in messages, and prints the responses.
func sendFile(url string, messages ...string) error {
	ws, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	for _, text := range messages {
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte(text)); err != nil {
			return err
		}
		_, progress, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		fmt.Println(string(progress))
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte("done")); err != nil {
		return err
	}
	var result uploads.Response
	if err := ws.ReadJSON(&result); err != nil {
		return err
	}
	for _, f := range result.Files {
		fmt.Println(result.Code, f.Directory, f.Filename, f.Size)
	}
	return nil
}

// A Server receives files over WebSockets and stores them.
func Example() {
	dir, err := os.MkdirTemp("", "uploads")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := uploads.Open(dir, uploads.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	sockets := uploadsocket.New(store, uploadsocket.Options{})
	s, err := server.New(server.Options{}, []server.Route{uploadRoute(sockets)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx, ln) }()   // ends with ctx
	go func() { ended <- sockets.Run(ctx) }() // ends with ctx

	if err := sendFile("ws://"+ln.Addr().String()+"/files/hello.txt", "Hello, ", "world!"); err != nil {
		fmt.Println(err)
	}
	cancel()
	fmt.Println(<-ended, <-ended)
	// Output:
	// {"offset":7}
	// {"offset":13}
	// 200 inbox hello.txt 13
	// <nil> <nil>
}
