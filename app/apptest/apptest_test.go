package apptest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/app/apptest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server"
)

type order struct {
	Customer string `json:"customer"`
}

var print = jobs.Define("print", func(_ context.Context, _ *jobs.Job, in order) (string, error) {
	return "printed for " + in.Customer, nil
})

func shop() app.Application {
	return app.Application{
		Name: "shop", Tasks: []jobs.Definition{print.Definition()},
		Routes: func(s *app.Services) ([]server.Route, error) {
			return []server.Route{
				{Method: "POST", Path: "/orders", Handler: func(ctx *fasthttp.RequestCtx) error {
					var in order
					if err := server.Bind(ctx, &in); err != nil {
						return err
					}
					task, err := print.Enqueue(ctx, s.Tasks, in)
					if err != nil {
						return err
					}
					return server.WriteJSON(ctx, fasthttp.StatusAccepted, task)
				}},
				{Method: "GET", Path: "/slow", Handler: func(ctx *fasthttp.RequestCtx) error {
					select {
					case <-s.Leaving:
					case <-time.After(time.Minute):
					}
					server.WriteText(ctx, fasthttp.StatusOK, "at last")
					return nil
				}},
				{Method: "GET", Path: "/hits", Handler: func(ctx *fasthttp.RequestCtx) error {
					n, err := s.Channels.Publish(ctx, "hits", []byte("x"))
					if err != nil {
						return err
					}
					server.WriteText(ctx, fasthttp.StatusOK, fmt.Sprint(n))
					return nil
				}},
			}, nil
		},
	}
}

func TestMain(m *testing.M) { apptest.Main(m, shop()) }

// works tests routes, tasks, channels and the console of a server.
func works(t *testing.T, s *apptest.Server) {
	t.Helper()
	var task apptest.Task
	if status := s.Post("/orders", order{"Ann"}, &task); status != http.StatusAccepted {
		t.Fatalf("order: %d", status)
	}
	if task = s.AwaitTask(task.ID); task.State != "success" || string(task.Result) != `"printed for Ann"` {
		t.Errorf("%+v", task)
	}
	var fault struct{ Reason string }
	if status := s.Post("/orders", map[string]int{"copies": 1}, &fault); status != http.StatusBadRequest || !strings.Contains(fault.Reason, "customer is missing") {
		t.Errorf("a wrong order: %d %s", status, fault.Reason)
	}
	for path, want := range map[string]string{"/hits": "1", "/console": "<html", "/healthz": "ok", "/tasks": "print", "/workflows/none": "no such"} {
		if _, body := s.Get(path); !strings.Contains(body, want) {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
	}
}

// The application works the same way in one process and in several.
func TestStart(t *testing.T) {
	t.Run("single", func(t *testing.T) { t.Parallel(); works(t, apptest.Start(t, shop())) })
	t.Run("another at the same time", func(t *testing.T) { t.Parallel(); works(t, apptest.Start(t, shop())) })
	t.Run("processes", func(t *testing.T) { t.Parallel(); works(t, apptest.StartProcesses(t, "-procs", "2")) })
}

// HUP replaces the parts of a server in one process without losing a request.
func TestReload(t *testing.T) {
	s := apptest.Start(t, shop())
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, body := s.Get("/hits"); status != http.StatusOK {
					t.Errorf("during a reload: %d %s", status, body)
				}
			}
		})
	}
	for n := 2; n <= 4; n++ {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, "serve.0 is replaced", func() bool { return strings.Count(s.Log(), `msg="part replaced" slot=serve.0`) >= n-1 })
	}
	close(stop)
	clients.Wait()
	stillWorks(t, s)
}

func stillWorks(t *testing.T, s *apptest.Server) {
	t.Helper()
	var task apptest.Task
	if s.Post("/orders", order{"Bea"}, &task); s.AwaitTask(task.ID).State != "success" {
		t.Error("no order after reloads")
	}
	resp, err := http.Get(s.Admin + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var status struct {
		Slots []struct{ Slot, State string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || len(status.Slots) != 3 {
		t.Errorf("%+v, %v", status, err)
	}
	for _, slot := range status.Slots {
		if slot.State != "live" {
			t.Errorf("%s is %s", slot.Slot, slot.State)
		}
	}
}
