package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/app/internal/access"
	"github.com/galeserver/gale/app/internal/routes"
	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/redisstream"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/server"
)

// settings are the settings of a child, which gets them as JSON in its environment.
type settings struct {
	Role        string // worker or serve
	Store       string // a file, or an address of Redis
	LeaseTTL    time.Duration
	Owner       string
	Successor   bool
	Concurrency int
	Runs        string // file to which each attempt adds a line
}

const settingsKey = "CHAOS_CHILD"

// TestMain runs the test binary as a child if its environment has settings.
func TestMain(m *testing.M) {
	text := os.Getenv(settingsKey)
	if text == "" {
		os.Exit(m.Run())
	}
	var s settings
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, s.Role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (s settings) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	store, err := s.open(ctx, log)
	if err != nil {
		return err
	}
	defer store.Close()
	tasks, err := s.tasks()
	if err != nil {
		return err
	}
	if s.Role == "serve" {
		all := routes.All(routes.Deps{
			Guard: access.New(access.Options{}), Tasks: tasks, Client: &jobs.Client{Store: store, Tasks: tasks}, Store: store, Leaving: ctx, Logger: log,
		})
		srv, err := server.New(server.Options{Errors: routes.Statuses, Logger: log}, all)
		if err != nil {
			return err
		}
		ln, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			return err
		}
		return srv.Run(ctx, ln)
	}
	w, err := machinery.New(store, tasks, machinery.Options{
		Owner: s.Owner, Successor: s.Successor, Concurrency: s.Concurrency, Heartbeat: s.LeaseTTL / 3, Logger: log,
	})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

func (s settings) open(ctx context.Context, log *slog.Logger) (driver.Store, error) {
	if strings.Contains(s.Store, "://") {
		return redisstream.Open(ctx, s.Store, redisstream.Options{LeaseTTL: s.LeaseTTL, Logger: log})
	}
	return sqlite.Open(s.Store, sqlite.Options{LeaseTTL: s.LeaseTTL, Logger: log})
}

// tasks returns the registry: nap sleeps for ms and returns it, sum returns the number of its
// arguments, and crash ends its process.
func (s settings) tasks() (*jobs.Registry, error) {
	runs := os.Stderr
	if s.Runs != "" {
		var err error
		if runs, err = os.OpenFile(s.Runs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return nil, err
		}
	}
	note := func(job *jobs.Job) { fmt.Fprintf(runs, "%s %s\n", job.Name, job.ID) }
	return jobs.NewRegistry(
		jobs.Definition{Name: "nap", Args: []jobs.Arg{{Name: "ms", Type: jobs.ArgInteger}, {Name: "before", Type: jobs.ArgInteger, Default: 0}},
			Handler: func(ctx context.Context, job *jobs.Job) error {
				note(job)
				var ms, before int64
				if err := job.Args(&ms, &before); err != nil {
					return err
				}
				select {
				case <-time.After(time.Duration(ms) * time.Millisecond):
					return job.Return(ms)
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}},
		jobs.Definition{Name: "sum", Handler: func(_ context.Context, job *jobs.Job) error {
			note(job)
			return job.Return(job.Len())
		}},
		jobs.Definition{Name: "crash", Handler: func(_ context.Context, job *jobs.Job) error {
			note(job)
			os.Exit(3)
			return nil
		}},
	)
}

// child is a slot. Its process is restarted whenever it ends.
type child struct {
	t      *testing.T
	s      settings
	file   *os.File // passed to the process as descriptor 3; may be nil
	mu     sync.Mutex
	cmd    *exec.Cmd
	starts int
	ended  chan struct{}
	quit   bool
}

func spawn(t *testing.T, s settings, file *os.File) *child {
	t.Helper()
	c := &child{t: t, s: s, file: file, ended: make(chan struct{})}
	c.start()
	go func() { // ends after retire
		defer close(c.ended)
		for {
			_ = c.cmd.Wait()
			if !c.restart() {
				return
			}
		}
	}()
	t.Cleanup(func() { c.retire(); <-c.ended })
	return c
}

// restart starts the next process. After retire it returns false.
func (c *child) restart() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.quit {
		c.start()
	}
	return !c.quit
}

func (c *child) start() {
	s := c.s
	s.Successor = c.starts > 0
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), settingsKey+"="+string(text), "GORACE=atexit_sleep_ms=0")
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.file != nil {
		c.cmd.ExtraFiles = []*os.File{c.file}
	}
	if err := c.cmd.Start(); err != nil {
		panic(err)
	}
	c.starts++
}

// kill kills the process. The next one starts at once.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.cmd.Process.Kill()
}

// retire kills the process. No other one starts.
func (c *child) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quit = true
	_ = c.cmd.Process.Kill()
}

// onEachStore runs a test on SQLite and on Redis with an append-only file.
func onEachStore(t *testing.T, ttl time.Duration, test func(t *testing.T, s settings, store driver.Store, redis *redistest.Server)) {
	for _, name := range []string{"sqlite", "redis"} {
		t.Run(name, func(t *testing.T) {
			s := settings{Role: "worker", LeaseTTL: ttl, Store: filepath.Join(t.TempDir(), "jobs.db"), Runs: filepath.Join(t.TempDir(), "runs")}
			var redis *redistest.Server
			if name == "redis" {
				redis = redistest.StartAOF(t)
				s.Store = redis.URL()
			}
			store, err := s.open(t.Context(), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			test(t, s, store, redis)
		})
	}
}

// awaitFinal polls until all tasks have ended and returns them.
func awaitFinal(t *testing.T, store driver.Store, ids []string, limit time.Duration) map[string]*jobs.Task {
	t.Helper()
	all := map[string]*jobs.Task{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		for _, id := range ids {
			if all[id] != nil {
				continue
			}
			if task, err := store.Get(t.Context(), id); err == nil && task.State.Final() {
				all[id] = task
			}
		}
		if len(all) == len(ids) {
			return all
		}
		if time.Now().After(end) {
			for _, id := range ids {
				if all[id] == nil {
					task, err := store.Get(t.Context(), id)
					t.Errorf("%s has not ended: %+v, %v", id, task, err)
				}
			}
			t.Fatalf("%d of %d tasks ended within %v", len(all), len(ids), limit)
		}
	}
}

func naps(t *testing.T, store driver.Store, prefix string, n, ms int) (ids []string) {
	t.Helper()
	for i := range n {
		id := fmt.Sprint(prefix, i)
		_, _, err := store.Enqueue(t.Context(), jobs.NewTask{ID: id, Name: "nap", Args: json.RawMessage(fmt.Sprintf("[%d,0]", ms))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}
