package app

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
	"github.com/galeserver/gale/server/cookie"
	"github.com/galeserver/gale/server/session"
	"github.com/galeserver/gale/uploads"
)

// asShop is the environment variable that makes the test binary run the application
// shop instead of the tests.
const asShop = "APP_TEST_SHOP"

func TestMain(m *testing.M) {
	if os.Getenv(asShop) != "" {
		Main(shop())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// shop returns an application that uses all fields of Application.
func shop() Application {
	var greeting, fail string
	var limit int
	return Application{
		Name: "shop", Version: "v1.2.3",
		Flags: func(f *flag.FlagSet) {
			f.StringVar(&greeting, "greeting", "Hello", "`word` that begins the greeting")
			f.StringVar(&fail, "fail", "", "`part` that fails: routes or start")
			f.IntVar(&limit, "page-limit", 10, "`number` of orders on a page")
		},
		Check: func() []error {
			if limit < 1 {
				return []error{fmt.Errorf("-page-limit: %d is less than 1", limit)}
			}
			return nil
		},
		Tasks: []jobs.Definition{{Name: "keep", Args: []jobs.Arg{{Name: "text", Type: jobs.ArgString}}, Handler: func(ctx context.Context, job *jobs.Job) error {
			var text string
			if err := job.Args(&text); err != nil {
				return err
			}
			s := From(ctx)
			if s == nil || s.Hub != nil {
				return jobs.NoRetry(errors.New("no services of a worker"))
			}
			if err := os.WriteFile(s.Data+"/kept", []byte(text), 0o600); err != nil {
				return err
			}
			return job.Return(fmt.Sprintf("%s %d %s", greeting, limit, text))
		}}, {Name: "share", Handler: share}},
		OnUpload: func(ctx context.Context, s *Services, f uploads.File) error {
			s.Log.Info("shop got a file", "directory", f.Directory, "filename", f.Filename, "size", f.Size, "sha256", f.SHA256)
			if f.Filename == "bad.txt" {
				return jobs.NoRetry(errors.New("the shop does not take it"))
			}
			return nil
		},
		Schedules: []Schedule{{Task: "keep", At: "0 3 1 1 *", Args: []any{"yearly"}}},
		Middleware: []server.Middleware{func(next server.Handler) server.Handler {
			return func(ctx *fasthttp.RequestCtx) error {
				ctx.Response.Header.Set("X-Shop", "yes")
				return next(ctx)
			}
		}},
		Header:    [][2]string{{"Content-Security-Policy", "default-src 'self'"}, {"X-Frame-Options", "SAMEORIGIN"}},
		Sessions:  &session.Options{},
		Templates: shopTemplates, TemplateFuncs: shopFuncs,
		Authenticate: func(h *fasthttp.RequestHeader) (*Identity, error) {
			if user := string(h.Peek("X-User")); user != "" {
				id := &Identity{Subject: user}
				if user == "root" {
					id.Scopes = []string{"end"}
				}
				return id, nil
			}
			return nil, nil
		},
		Routes: func(s *Services) ([]server.Route, error) {
			if fail == "routes" {
				return nil, errors.New("the shelf is empty")
			}
			seen := s.Cookie(cookie.Options{Name: "seen"})
			return []server.Route{
				{Method: "GET", Path: "/hello/{name}", Handler: func(ctx *fasthttp.RequestCtx) error {
					who := "nobody"
					if id := IdentityOf(ctx); id != nil {
						who = id.Subject
					}
					server.WriteText(ctx, 200, greeting+", "+server.Param(ctx, "name")+" from "+who)
					return nil
				}},
				{Method: "POST", Path: "/orders", Handler: func(ctx *fasthttp.RequestCtx) error {
					task, _, err := s.Tasks.Enqueue(ctx, jobs.NewTask{Name: "keep", Args: []byte(`["an order"]`)})
					if err != nil {
						return err
					}
					return server.WriteJSON(ctx, 202, task)
				}},
				{Method: "POST", Path: "/login", Public: true, Handler: func(ctx *fasthttp.RequestCtx) error {
					got, err := s.Sessions.Of(ctx)
					if err != nil {
						return err
					}
					got.Login(string(ctx.PostBody()))
					seen.Clear(ctx)
					server.WriteText(ctx, 200, Next(ctx))
					return seen.Set(ctx, "yes")
				}},
				{Method: "GET", Path: "/me", Middleware: []server.Middleware{Require("/login")}, Handler: func(ctx *fasthttp.RequestCtx) error {
					value, _ := seen.Get(ctx)
					server.WriteText(ctx, 200, IdentityOf(ctx).Subject+" seen "+value)
					return nil
				}},
				{Method: "POST", Path: "/end/{name}", Middleware: []server.Middleware{Require("/login", "end")}, Handler: func(ctx *fasthttp.RequestCtx) error {
					return s.Sessions.EndAll(ctx, server.Param(ctx, "name"))
				}},
				{Method: "GET", Path: "/page/{name}", Handler: func(ctx *fasthttp.RequestCtx) error {
					return s.Templates.Render(ctx, 200, server.Param(ctx, "name"), nil)
				}},
				{Method: "GET", Path: "/{path:*}", Handler: func(ctx *fasthttp.RequestCtx) error {
					server.WriteText(ctx, 200, "page "+server.Param(ctx, "path"))
					return nil
				}},
			}, nil
		},
		Start: func(ctx context.Context, s *Services) error {
			if fail == "start" {
				return errors.New("the door is stuck")
			}
			s.Log.Info("shop is open")
			<-ctx.Done()
			s.Log.Info("shop is closed")
			return nil
		},
		Platform: Platform{Prefix: "/-", Off: []string{"static"}},
	}
}

// run runs a command of an application in this process.
func run(t *testing.T, a Application, environ []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	err = Run(t.Context(), a, append([]string{"shop"}, args...), environ, &out, &errOut)
	return out.String(), errOut.String(), err
}

// send sends a request with header fields "Name: value" and returns the response.
func send(t *testing.T, method, url string, fields ...string) (int, http.Header, string) {
	t.Helper()
	return sendBody(t, method, url, "", fields...)
}

func sendBody(t *testing.T, method, url, content string, fields ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Timeout: testutil.Patience, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// start starts shop as a master with children and waits until it responds. The server
// ends with the test.
func start(t *testing.T, environ []string, args ...string) (url string, master *os.Process, log func() string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	file, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], append([]string{"serve", "-port", port, "-procs", "1", "-admin", "unix:" + dir + "/admin", "-data", dir + "/data", "-grace", "10s"}, args...)...)
	cmd.Env = append(append(os.Environ(), asShop+"=1"), environ...)
	cmd.Stderr, cmd.Stdout = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log = func() string { text, _ := os.ReadFile(file.Name()); return string(text) }
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, log())
		}
	})
	testutil.Eventually(t, "it responds", func() bool {
		resp, err := http.Get("http://" + address + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
	awaitLog(t, log, "msg=ready") // of all slots: a serving process may respond before the state server does
	return "http://" + address, cmd.Process, log
}

// awaitLog waits until the log has a text.
func awaitLog(t *testing.T, log func() string, text string) {
	t.Helper()
	testutil.Eventually(t, "the log has "+text, func() bool { return strings.Contains(log(), text) })
}
