// Package chaos_test kills the processes that accept, keep and run tasks and
// counts how many tasks are lost. Masters, slots and their restarts are those of
// every Gale application; only the tasks are the test's own. `make test` runs the
// short tests and `make e2e` the long one, which prints a table.
package chaos_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/test/harness"
)

// asServer is the environment variable that makes the test binary the application. The
// name does not begin with GALE_, because the embedded state server does not inherit such
// variables: its process would run the tests.
const asServer = "TEST_CHAOS_SERVER"

// TestMain runs the tests, or the application if a test has started it.
func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		app.Main(new(application).definition()) // returns if all went well
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// application is the application under test.
type application struct {
	runs string // file to which each attempt of a task adds a line; empty for none
}

func (a *application) definition() app.Application {
	return app.Application{
		Name: "chaos",
		Flags: func(set *flag.FlagSet) {
			set.StringVar(&a.runs, "runs", "", "`file` to which each attempt adds a line")
		},
		Tasks: []jobs.Definition{
			{Name: "nap", Args: []jobs.Arg{{Name: "ms", Type: jobs.ArgInteger}, {Name: "before", Type: jobs.ArgInteger, Default: 0}}, Handler: a.nap},
			{Name: "count", Handler: a.count},
			{Name: "crash", Handler: a.crash},
		},
	}
}

// record adds the attempt to the file of attempts.
func (a *application) record(job *jobs.Job) error {
	file, err := os.OpenFile(cmp.Or(a.runs, os.DevNull), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, job.Name, job.ID)
	return err
}

// nap waits the given number of milliseconds and returns it. In a chain it gets
// the result of the previous task as its second argument.
func (a *application) nap(ctx context.Context, job *jobs.Job) error {
	var ms, before int64
	if err := job.Args(&ms, &before); err != nil {
		return err
	}
	if err := a.record(job); err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return job.Return(ms)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// count returns the number of its arguments: as a callback, that of the results.
func (a *application) count(_ context.Context, job *jobs.Job) error {
	if err := a.record(job); err != nil {
		return err
	}
	return job.Return(job.Len())
}

// crash ends the worker's process.
func (a *application) crash(context.Context, *jobs.Job) error {
	os.Exit(3)
	return nil
}

// start starts the application in a folder and ends it with the test. The first
// argument is the verb.
func start(t *testing.T, dir string, args ...string) *harness.Server {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, harness.OnFreePorts(args)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asServer+"=1", "GORACE=atexit_sleep_ms=0")
	g, err := harness.LaunchAs(cmd)
	return harness.MustStart(t, g, err)
}

// onEachStore runs a test on SQLite and on Redis with an append-only file, with
// the flags for it.
func onEachStore(t *testing.T, test func(t *testing.T, flags []string, redis *redistest.Server)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, nil, nil) })
	t.Run("redis", func(t *testing.T) {
		redis := redistest.StartAOF(t)
		test(t, []string{"-broker", redis.URL()}, redis)
	})
}

// postNaps posts n naps and returns their ids.
func postNaps(t *testing.T, g *harness.Server, prefix string, n, ms int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, fmt.Sprint(prefix, i))
		postTask(t, g, fmt.Sprintf(`{"task":"nap","args":[%d],"id":%q}`, ms, ids[i]))
	}
	return ids
}

func postTask(t *testing.T, g *harness.Server, body string) {
	t.Helper()
	var task struct{ Reason string }
	if code := harness.SendJSON(t, http.MethodPost, g.URL+"/tasks", body, &task); code != http.StatusAccepted {
		t.Fatalf("%s: %d %s", body, code, task.Reason)
	}
}
