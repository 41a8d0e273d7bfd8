package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/server/limit"
	"github.com/galeserver/gale/server/realtime"
)

// share is a task that uses what processes share, and returns what came of it.
func share(ctx context.Context, job *jobs.Job) error {
	s := From(ctx)
	var result []string
	add := func(what string, err error) {
		switch {
		case errors.Is(err, ErrNoSharedState):
			result = append(result, what+": no shared state")
		case err != nil:
			result = append(result, what+": "+err.Error())
		}
	}
	first, err := s.Channels.Publish(ctx, "orders", []byte("an order"))
	add("publish", err)
	got := errors.New("got it")
	err = s.Channels.Subscribe(ctx, realtime.Start{Channel: "orders", Resume: true, Since: first - 1}, func(e realtime.Event) error {
		result = append(result, "received "+e.Data)
		return got
	})
	if !errors.Is(err, got) {
		add("subscribe", err)
	}
	limiter := s.Limit(limit.Options{Name: "shop", Limit: 1, Window: time.Hour})
	for range 2 {
		d, err := limiter.Take(ctx, "anybody")
		add("limit", err)
		result = append(result, fmt.Sprint("granted ", d.Granted))
	}
	value, _, err := s.Cache.Get(ctx, "answer", time.Minute, func(context.Context) (string, error) { return "42", nil })
	add("cache", err)
	result = append(result, value)
	add("pool", s.Pool.Do(ctx, func(context.Context) error { result = append(result, "in the pool"); return nil }))
	return job.Return(strings.Join(result, "; "))
}

// A task under a serving master shares channels, limits and values with all processes.
func TestServicesOfAWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, nil, "-data", dir)
	out, stderr, err := run(t, shop(), nil, "tasks", "run", "share", "-data", dir)
	want := "received an order; granted true; granted false; 42; in the pool"
	if err != nil || !strings.Contains(out, want) {
		t.Errorf("%s%s%v; want %s", out, stderr, err, want)
	}
}

// A worker of its own without -redis runs tasks, and says what it does not share.
func TestServicesOfAWorkerAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], "worker", "-data", dir, "-procs", "1", "-grace", "10s")
	cmd.Env, cmd.Stderr = append(os.Environ(), asShop+"=1"), log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Errorf("%v\n%s", err, text)
		}
	})
	testutil.Eventually(t, "the worker has made its task store", func() bool { _, err := os.Stat(dir + "/jobs.db"); return err == nil })
	out, stderr, err := run(t, shop(), nil, "tasks", "run", "share", "-data", dir)
	want := "publish: no shared state; subscribe: no shared state; limit: no shared state; granted false; limit: no shared state; granted false; 42; in the pool"
	if err != nil || !strings.Contains(out, want) {
		t.Errorf("%s%s%v; want %s", out, stderr, err, want)
	}
	if text, _ := os.ReadFile(log.Name()); strings.Contains(string(text), "subscription lost") {
		t.Errorf("it subscribes to nothing:\n%s", text)
	}
}
