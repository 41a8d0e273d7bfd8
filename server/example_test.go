package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

var errAsleep = errors.New("asleep")

// Handlers return errors, and a table turns them into statuses. The end of ctx drains
// the server.
func Example() {
	s, err := server.New(server.Options{
		Errors: []server.ErrorStatus{{Err: errAsleep, Status: http.StatusConflict, Reason: "it is asleep"}},
	}, []server.Route{
		{Method: http.MethodPost, Path: "/cats/{name}", MaxBody: 1 << 10, Handler: func(ctx *fasthttp.RequestCtx) error {
			text, err := server.ReadAll(ctx)
			if err != nil {
				return err
			}
			if string(text) == "wake up" {
				return fmt.Errorf("wake %s: %w", server.Param(ctx, "name"), errAsleep)
			}
			server.WriteText(ctx, http.StatusOK, server.Param(ctx, "name")+" heard "+string(text))
			return nil
		}},
	})
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
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }() // ends with ctx

	url := "http://" + ln.Addr().String() + "/cats/Tom"
	say(url, "miaow")
	say(url, "wake up")
	say(url, strings.Repeat("miaow ", 1000))
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 200 Tom heard miaow
	// 409 {"code":409,"reason":"it is asleep"}
	// 413 {"code":413,"reason":"request body is too large"}
	// <nil>
}

func say(url, text string) {
	resp, err := http.Post(url, "text/plain", strings.NewReader(text))
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // read to its end
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(resp.StatusCode, strings.TrimSpace(string(response)))
}

// A router of net/http serves all paths below /debug/.
func ExampleHTTP() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /vars/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s is unset", r.PathValue("name"))
	})
	s, err := server.New(server.Options{}, []server.Route{{
		Method: http.MethodGet, Path: "/debug/{path:*}",
		Handler: server.HTTP(http.StripPrefix("/debug", mux)),
	}})
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

	resp, err := http.Get("http://" + ln.Addr().String() + "/debug/vars/LANG")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // read to its end
	fmt.Println(resp.StatusCode, string(body), err)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 200 LANG is unset <nil>
	// <nil>
}

// Order is the body of a request. Its tags are for encoding/json, Bind, and package
// validator.
type Order struct {
	Customer string   `json:"customer" validate:"min=1,max=100"`
	Copies   int8     `json:"copies" default:"1" validate:"min=1,max=100"`
	Size     string   `json:"size" default:"m" validate:"oneof=s m l"`
	Email    *string  `json:"email" validate:"omitempty,email"`
	Tags     []string `json:"tags,omitempty" validate:"max=3"`
}

// A handler reads JSON or a form into a struct. The error of Bind is a 400 response with all
// faults.
func ExampleBind() {
	handler := func(ctx *fasthttp.RequestCtx) error {
		var order Order
		if err := server.Bind(ctx, &order); err != nil {
			return err
		}
		fmt.Printf("%d copies in size %s for %s\n", order.Copies, order.Size, order.Customer)
		return nil
	}
	for _, body := range []string{
		`{"customer": "Ann", "copies": 2}`,
		`{"customer": "", "copies": 101, "size": "xl", "email": "ann"}`,
		`{"copies": "two", "size": "xl"}`,
	} {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetContentType("application/json")
		ctx.Request.SetBodyString(body)
		if err := handler(&ctx); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "; ", "\n"))
		}
	}
	// Output:
	// 2 copies in size m for Ann
	// 400 customer must have at least 1 character
	// copies must be at most 100
	// size must be one of: s, m, l
	// email must be an email address
	// 400 copies must be an integer from -128 to 127, not string
	// customer is missing
	// size must be one of: s, m, l
}

// Chain wraps a handler in middleware, the first one outermost.
func ExampleChain() {
	name := func(text string) server.Middleware {
		return func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				fmt.Println(text, "begins")
				defer fmt.Println(text, "ends")
				return next(ctx)
			}
		}
	}
	handler := server.Chain(func(*fasthttp.RequestCtx) error {
		fmt.Println("handler")
		return nil
	}, name("outer"), name("inner"))
	if err := handler(new(fasthttp.RequestCtx)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// outer begins
	// inner begins
	// handler
	// inner ends
	// outer ends
}
