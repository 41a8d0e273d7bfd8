package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/prefork"
)

// hello is what all peers answer, as bin/server does.
const hello = "Hello, friendly user!"

// peer is a server as its library's own documentation begins one.
func peer(name, addr string) error {
	switch name {
	case "fasthttp":
		srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("text/plain; charset=utf-8")
			ctx.SetBodyString(hello)
		}}
		return prefork.New(srv).ListenAndServe(addr)
	case "nethttp":
		return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a peer has its defaults
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, hello)
		}))
	}
	return fmt.Errorf("no peer %q: fasthttp or nethttp", name)
}
