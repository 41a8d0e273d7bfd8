package app

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/session"
)

// commandCounter counts the commands that a Redis client sends.
type commandCounter struct{ sent atomic.Int64 }

func (c *commandCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.sent.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commandCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		c.sent.Add(int64(len(all)))
		return next(ctx, all)
	}
}

// routesWithSessions are routes that read the session twice, with and without an Admit
// function of their own.
func routesWithSessions(s *Services) ([]server.Route, error) {
	show := func(ctx *fasthttp.RequestCtx) error {
		who := "nobody"
		if id := IdentityOf(ctx); id != nil {
			who = id.Subject
		}
		if own, ok := server.Admitted(ctx).(string); ok {
			who = own
		}
		for range 2 {
			got, err := s.Sessions.Of(ctx)
			if err != nil {
				return err
			}
			server.WriteText(ctx, 200, who+" "+got.Subject()+" "+got.Get("cart"))
		}
		return nil
	}
	return []server.Route{
		{Method: "GET", Path: "/me", Handler: show},
		{Method: "GET", Path: "/own", Handler: show, Admit: func(*fasthttp.RequestHeader) (any, error) { return "own", nil }},
		{Method: "POST", Path: "/set", Handler: func(ctx *fasthttp.RequestCtx) error {
			got, err := s.Sessions.Of(ctx)
			if err != nil {
				return err
			}
			if name, given := server.QueryText(ctx, "login"); given {
				got.Login(name)
			}
			got.Set("cart", "tea")
			return nil
		}},
	}, nil
}

// serving serves until the end of the test.
func serving(t *testing.T, s *server.Server) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// fetch returns the body of a 200 response, and the cookies of the client after it.
func fetch(t *testing.T, method, url, cookies string) (body, newCookies string) {
	t.Helper()
	var fields []string
	if cookies != "" {
		fields = append(fields, cookies)
	}
	status, header, body := send(t, method, url, fields...)
	if status != 200 {
		t.Fatalf("%s: %d %s", url, status, body)
	}
	return body, cookiesOf(header)
}

// One command of Redis per request serves the identity and the handler, also for a session
// without a login.
func TestSessionIsReadOnce(t *testing.T) {
	t.Parallel()
	keys, err := offlineKeys()
	if err != nil {
		t.Fatal(err)
	}
	client, counter := sharedtest.Open(t, sharedtest.StateServer(t)), new(commandCounter)
	client.AddHook(counter)
	services := &Services{Sessions: session.New(client, keys, session.Options{})}
	own, err := (&Application{Routes: routesWithSessions}).ownRoutes(services)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{}, access.New(access.Options{Session: readSession(services.Sessions)}).Protect(own))
	if err != nil {
		t.Fatal(err)
	}
	url := serving(t, srv)
	_, ada := fetch(t, "POST", url+"/set?login=ada", "")
	_, anonymous := fetch(t, "POST", url+"/set", "")
	fetch(t, "GET", url+"/me", ada) // Redis has the script after the first call
	for _, c := range []struct {
		path, cookies, want string
		sent                int64
	}{
		{"/me", ada, "ada ada tea", 1},
		{"/me", anonymous, "nobody  tea", 1},
		{"/own", ada, "own ada tea", 1},
		{"/me", "", "nobody  ", 0},
		{"/me", "Cookie: session=forged", "nobody  ", 0},
	} {
		before := counter.sent.Load()
		body, _ := fetch(t, "GET", url+c.path, c.cookies)
		if sent := counter.sent.Load() - before; body != c.want || sent != c.sent {
			t.Errorf("%s %.20s: %q with %d commands, want %q with %d", c.path, c.cookies, body, sent, c.want, c.sent)
		}
	}
}
