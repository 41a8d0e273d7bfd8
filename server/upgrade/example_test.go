package upgrade_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/upgrade"
)

// sendBack sends each message back until the client closes the connection.
func sendBack(h *upgrade.Handshake, t *server.Taken) {
	defer t.Close()
	ws, err := h.Accept(t, upgrade.Options{})
	if err != nil {
		return
	}
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, data) != nil {
			return
		}
	}
}

// A handler takes the connection of a WebSocket, and a goroutine of its own serves it.
// Package realtime does this with less memory per connection.
func Example() {
	var sockets sync.WaitGroup
	s, err := server.New(server.Options{}, []server.Route{{Method: http.MethodGet, Path: "/echo", Handler: func(ctx *fasthttp.RequestCtx) error {
		h, err := upgrade.Read(ctx, "this path needs a WebSocket handshake")
		if h == nil || err != nil {
			return err
		}
		return h.Take(ctx, func(t *server.Taken) { sockets.Go(func() { sendBack(h, t) }) })
	}}})
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
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }() // ends with ctx

	ws, _, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String()+"/echo", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		fmt.Println(err)
	}
	_, data, err := ws.ReadMessage()
	fmt.Println(string(data), err)
	fmt.Println(ws.Close())

	resp, err := http.Get("http://" + ln.Addr().String() + "/echo")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.StatusCode, resp.Header.Get("Upgrade"), resp.Body.Close())
	sockets.Wait()
	cancel()
	fmt.Println(<-ended)
	// Output:
	// hello <nil>
	// <nil>
	// 426 websocket <nil>
	// <nil>
}
