package main

import (
	"errors"
	"net/http"
	"sync"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// peer runs the same routes on fasthttp and its WebSocket library, like the examples of
// that library: each connection has a goroutine that reads it and writes a broadcast to all
// connections, one after the other.
func peer(addr string) error {
	upgrader := websocket.FastHTTPUpgrader{}
	all := &room{conns: map[*websocket.Conn]bool{}}
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		var serve func(*websocket.Conn)
		switch string(ctx.Path()) {
		case "/websocket":
			serve = echo
		case "/broadcast":
			serve = all.join
		default:
			ctx.Error("not found", http.StatusNotFound)
			return
		}
		_ = upgrader.Upgrade(ctx, serve) // after an error, it has sent the response
	}}
	return errors.Join(errors.New("the peer has ended"), srv.ListenAndServe(addr))
}

func echo(c *websocket.Conn) {
	if c.WriteMessage(websocket.TextMessage, []byte("Welcome to the WebSocket server!")) != nil {
		return
	}
	for {
		_, message, err := c.ReadMessage()
		if err != nil || c.WriteMessage(websocket.TextMessage, append([]byte("You said: "), message...)) != nil {
			return
		}
	}
}

// room is the set of clients of the broadcast.
type room struct {
	mu    sync.Mutex
	conns map[*websocket.Conn]bool
}

func (r *room) join(c *websocket.Conn) {
	r.mu.Lock()
	r.conns[c] = true
	err := c.WriteMessage(websocket.TextMessage, []byte("Connected to Broadcast WebSocket server!"))
	r.mu.Unlock()
	for err == nil {
		var message []byte
		if _, message, err = c.ReadMessage(); err == nil {
			r.send(append([]byte("Broadcast: "), message...))
		}
	}
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

func (r *room) send(message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.WriteMessage(websocket.TextMessage, message) // its reader gets the same error
	}
}
