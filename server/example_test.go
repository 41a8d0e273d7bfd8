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
