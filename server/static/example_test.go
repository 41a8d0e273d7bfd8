package static_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/static"
)

// A route serves the files of a folder. A file outside of it cannot be requested.
func Example() {
	dir, err := os.MkdirTemp("", "static")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("Hello, world!"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	folder, err := static.Open(dir, static.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer folder.Close()
	s, err := server.New(server.Options{}, []server.Route{{
		Method: http.MethodGet, Path: "/files/{path:*}",
		Handler: func(ctx *fasthttp.RequestCtx) error { return folder.Serve(ctx, server.Param(ctx, "path")) },
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

	for _, name := range []string{"hello.txt", "missing.txt", "%2e%2e/secret.txt"} {
		resp, err := http.Get("http://" + ln.Addr().String() + "/files/" + name)
		if err != nil {
			fmt.Println(err)
			break
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read to its end
		fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"), string(body), err)
	}
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 200 text/plain; charset=utf-8 Hello, world! <nil>
	// 404 application/json {"code":404,"reason":"not found"} <nil>
	// 404 application/json {"code":404,"reason":"not found"} <nil>
	// <nil>
}
