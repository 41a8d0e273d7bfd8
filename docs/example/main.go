// Command example is a server of its own on Gale's packages: two processes
// that serve on one port and a worker, a route and a task.
//
//	go run ./docs/example 127.0.0.1:8000 data
//	curl -d 'so long, and thanks' http://127.0.0.1:8000/count   # {"id":"…","state":"queued",…}
//	curl http://127.0.0.1:8000/count/ID                         # {…,"state":"success","result":4}
//
// Kill any of the processes: it is started again, and the task runs to its end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/sqlite"
	"github.com/galeserver/gale/prefork"
	"github.com/galeserver/gale/server"
)

// grace is how long a process that is to leave may finish its work, and
// lessThanGrace how long its parts may: something is left for putting away.
const (
	grace         = 10 * time.Second
	lessThanGrace = 9 * time.Second
)

// The master starts its children from the main thread.
func init() { runtime.LockOSThread() }

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(context.Background(), os.Args, os.Environ(), log); err != nil {
		log.Error("example ends", "error", err)
		os.Exit(1)
	}
}

// run is the master, or, if a master has started this process, a child.
func run(ctx context.Context, args, environ []string, log *slog.Logger) error {
	child, isChild, err := prefork.Inherit(environ)
	if err != nil {
		return err
	}
	if isChild {
		folder := string(child.Config) // as the master has found it right
		return child.Run(ctx, grace, func(ctx context.Context) error {
			return work(ctx, child, folder, log.With("slot", child.Slot()))
		})
	}
	if len(args) != 3 {
		return errors.New("usage: example HOST:PORT FOLDER")
	}
	if err := os.MkdirAll(args[2], 0o700); err != nil {
		return err
	}
	m, err := prefork.New(prefork.Options{
		Roles:   []prefork.Role{{Name: "serve", Slots: 2, Listens: true}, {Name: "worker", Slots: 1}},
		Command: args, Address: args[1], Program: "example", Config: []byte(args[2]), Environ: environ, Grace: grace, Logger: log,
	})
	if err != nil {
		return err
	}
	addr, err := m.Listen()
	if err != nil {
		return err
	}
	if trial, err := m.Trial(); trial { // a reload only wants to know whether all is well
		return err
	}
	log.Info("listening", "url", "http://"+addr.String())
	return m.Run(ctx)
}

// countWords is a task: its argument is a text, its result how many words that
// has. It is accepted once it is on disk, and run until it has ended once.
var countWords = jobs.Definition{
	Name: "count_words",
	Args: []jobs.Arg{{Name: "text", Type: jobs.ArgString}},
	Handler: func(_ context.Context, job *jobs.Job) error {
		var text string
		if err := job.Args(&text); err != nil {
			return jobs.NoRetry(err)
		}
		return job.Return(len(strings.Fields(text)))
	},
}

// work is what a child does until ctx ends.
func work(ctx context.Context, child *prefork.Child, folder string, log *slog.Logger) (err error) {
	store, err := sqlite.Open(filepath.Join(folder, "jobs.db"), sqlite.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	tasks, err := jobs.NewRegistry(countWords)
	if err != nil {
		return err
	}
	if child.Role == "serve" {
		return serve(ctx, child, &jobs.Client{Store: store, Tasks: tasks}, store, log)
	}
	w, err := machinery.New(store, tasks, machinery.Options{
		Owner: child.Owner(), Successor: child.Alone(), Grace: lessThanGrace, Logger: log,
	})
	if err != nil {
		return err
	}
	if err := child.Ready(); err != nil {
		return err
	}
	return w.Run(ctx)
}

// serve answers requests.
func serve(ctx context.Context, child *prefork.Child, client *jobs.Client, store jobs.Reader, log *slog.Logger) error {
	s, err := server.New(server.Options{
		Logger: log, Grace: lessThanGrace,
		Errors: []server.ErrorStatus{
			{Err: jobs.ErrNotFound, Status: http.StatusNotFound, Reason: "no such count"},
			{Err: jobs.ErrUnavailable, Status: http.StatusServiceUnavailable, RetryAfter: time.Second},
		},
	}, []server.Route{
		{Method: http.MethodPost, Path: "/count", MaxBody: 64 << 10, Handler: func(ctx *fasthttp.RequestCtx) error {
			text, err := server.ReadAll(ctx)
			if err != nil {
				return err // 413, or 400 if it was cut off
			}
			args, err := json.Marshal([]string{string(text)})
			if err != nil {
				return err
			}
			task, _, err := client.Enqueue(ctx, jobs.NewTask{Name: countWords.Name, Args: args})
			if err != nil {
				return err
			}
			return server.WriteJSON(ctx, http.StatusAccepted, task)
		}},
		{Method: http.MethodGet, Path: "/count/{id}", Handler: func(ctx *fasthttp.RequestCtx) error {
			task, err := store.Get(ctx, server.Param(ctx, "id"))
			if err != nil {
				return err
			}
			return server.WriteJSON(ctx, http.StatusOK, task)
		}},
	})
	if err != nil {
		return err
	}
	ln, err := child.Listener()
	if err != nil {
		return err
	}
	if err := child.Ready(); err != nil {
		return err
	}
	return s.Run(ctx, ln)
}
