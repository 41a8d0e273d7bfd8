package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cache"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/middleware"
)

// A limit and a timeout are around all routes of a shop, and a cache around one. An
// application calls such a function in Routes, with Services.Cache and Services.Limit.
func Example() {
	rdb := redis.NewClient(&redis.Options{}) // connects when it is first used
	limiter := limit.New(rdb, limit.Options{Name: "shop", Limit: 100, Window: time.Minute})
	for _, r := range shopRoutes(cache.New(rdb, cache.Options{}), limiter) {
		fmt.Println(r.Path, len(r.Middleware))
	}
	// Output:
	// /prices 3
	// /time 2
}

func shopRoutes(c *cache.Cache, limiter *limit.Limiter) []server.Route {
	return server.Wrap([]server.Route{
		{
			Method: "GET", Path: "/prices",
			Middleware: []server.Middleware{middleware.Cache(c, 10*time.Second, middleware.CacheOptions{})},
			Handler: func(ctx *fasthttp.RequestCtx) error {
				prices, err := queryPrices(server.Context(ctx))
				if err != nil {
					return err
				}
				return server.WriteJSON(ctx, 200, prices)
			},
		},
		{
			Method: "GET", Path: "/time",
			Handler: func(ctx *fasthttp.RequestCtx) error {
				server.WriteText(ctx, 200, time.Now().Format(time.RFC3339))
				return nil
			},
		},
	}, middleware.RateLimit(limiter, nil), middleware.Timeout(5*time.Second))
}

func queryPrices(ctx context.Context) (map[string]int, error) {
	return map[string]int{"apple": 30}, ctx.Err()
}

func ExampleBasicAuth() {
	s, err := server.New(server.Options{}, []server.Route{{
		Method: "GET", Path: "/report",
		Middleware: []server.Middleware{middleware.BasicAuth("reports", func(user, password string) bool {
			return user == "ada" && middleware.Equal(password, "lovelace")
		})},
		Handler: func(ctx *fasthttp.RequestCtx) error {
			server.WriteText(ctx, 200, "report for "+middleware.UserOf(ctx))
			return nil
		},
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

	for _, password := range []string{"lovelace", "byron"} {
		req, err := http.NewRequest(http.MethodGet, "http://"+ln.Addr().String()+"/report", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		req.SetBasicAuth("ada", password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read to its end
		fmt.Println(resp.StatusCode, string(body), err)
	}
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 200 report for ada <nil>
	// 401 {"code":401,"reason":"wrong user name or password"} <nil>
	// <nil>
}
