package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/prefork"
)

// hello is the response to GET /, as in bin/server.
const hello = "Hello, friendly user!"

// page is the response to GET /fetch.
const page = "<div>Time Cost</div><div>%v</div>"

// peer runs a server that is written like the examples of its library. It responds to GET /,
// waits in /delay, and fetches upstream in /fetch.
func peer(name, addr, upstream string) error {
	switch name {
	case "fasthttp":
		return fasthttpPeer(addr, upstream)
	case "nethttp":
		return nethttpPeer(addr, upstream)
	}
	return fmt.Errorf("no peer %q: fasthttp or nethttp", name)
}

func fasthttpPeer(addr, upstream string) error {
	client := &fasthttp.Client{MaxConnsPerHost: 1024} // as in Gale's client
	srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("text/plain; charset=utf-8")
		switch string(ctx.Path()) {
		case "/delay":
			<-time.After(seconds(string(ctx.QueryArgs().Peek("s"))))
			ctx.SetBodyString("Hello, world!")
		case "/fetch":
			began := time.Now()
			if _, _, err := client.Get(nil, upstream); err != nil {
				ctx.Error(err.Error(), http.StatusBadGateway)
				return
			}
			fmt.Fprintf(ctx, page, time.Since(began).Seconds())
		default:
			ctx.SetBodyString(hello)
		}
	}}
	return prefork.New(srv).ListenAndServe(addr)
}

func nethttpPeer(addr, upstream string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 1024 // the default is 2, with a new connection for every further request
	transport.MaxIdleConns = 1024
	client := &http.Client{Transport: transport}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, hello)
	})
	mux.HandleFunc("/delay", func(w http.ResponseWriter, r *http.Request) {
		<-time.After(seconds(r.FormValue("s")))
		_, _ = io.WriteString(w, "Hello, world!")
	})
	mux.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		if err := fetch(client, r, upstream); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, page, time.Since(began).Seconds())
	})
	return http.ListenAndServe(addr, mux) //nolint:gosec // a peer runs with the defaults of its library
}

func fetch(client *http.Client, r *http.Request, upstream string) error {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, upstream, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // has been read
	return err
}

// seconds returns the time that /delay waits. The text comes from wrk and is valid.
func seconds(text string) time.Duration {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
