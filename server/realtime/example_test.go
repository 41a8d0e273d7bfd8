package realtime_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/realtime"
)

// greeter asks each client for a name and greets it.
type greeter struct{}

func (greeter) Open(c *realtime.Conn) {
	_ = c.Send(context.Background(), realtime.Text("what is your name?")) // an error ends the connection
}

func (greeter) Message(c *realtime.Conn, m realtime.Message) {
	_ = c.Send(context.Background(), realtime.Text("hello, "+string(m.Data)))
	c.Close(websocket.CloseNormalClosure, "bye")
}

func (greeter) Closed(*realtime.Conn, int, string) {}

// A Hub holds the WebSockets of a process. It closes them when the context of Run ends.
func Example() {
	hub := realtime.New(realtime.Options{})
	s, err := server.New(server.Options{}, []server.Route{{Method: http.MethodGet, Path: "/greet", Handler: func(ctx *fasthttp.RequestCtx) error {
		return hub.Upgrade(ctx, realtime.Upgrade{Handler: greeter{}})
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
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx, ln) }() // ends with ctx
	go func() { ended <- hub.Run(ctx) }()   // ends with ctx

	ws, _, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String()+"/greet", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, question, err := ws.ReadMessage()
	fmt.Println(string(question), err)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("Ann")); err != nil {
		fmt.Println(err)
	}
	_, greeting, err := ws.ReadMessage()
	fmt.Println(string(greeting), err)
	_, _, err = ws.ReadMessage()
	fmt.Println(err)
	fmt.Println(ws.Close())
	cancel()
	fmt.Println(<-ended, <-ended)
	// Output:
	// what is your name? <nil>
	// hello, Ann <nil>
	// websocket: close 1000 (normal): bye
	// <nil>
	// <nil> <nil>
}
