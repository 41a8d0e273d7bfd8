//go:build e2e

package torture_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/galeserver/gale/app"
	"github.com/galeserver/gale/jobs"
)

// asServer is the environment variable that makes the test binary the application. The name
// does not begin with GALE_, because the embedded state server does not inherit such
// variables.
const asServer = "TEST_TORTURE_SERVER"

// TestMain runs the tests, or the application if a test has started it.
func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		app.Main(new(application).definition()) // returns if all went well
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// application is the application under test: the platform with three tasks.
type application struct {
	runs string // folder in which each attempt records its steps
}

func (a *application) definition() app.Application {
	return app.Application{
		Name: "torture",
		Flags: func(set *flag.FlagSet) {
			set.StringVar(&a.runs, "runs", "", "`folder` in which each attempt records its steps")
		},
		Tasks: []jobs.Definition{
			{Name: "work", Handler: a.work, Args: []jobs.Arg{
				{Name: "tag", Type: jobs.ArgString}, {Name: "ms", Type: jobs.ArgInteger},
				{Name: "fails", Type: jobs.ArgInteger}, {Name: "before", Type: jobs.ArgString, Default: ""},
			}},
			{Name: "crash", Handler: a.crash, Args: []jobs.Arg{
				{Name: "tag", Type: jobs.ArgString}, {Name: "before", Type: jobs.ArgString, Default: ""},
			}},
			{Name: "collect", Handler: a.collect},
		},
	}
}

// work takes the given number of milliseconds, fails the given number of times and then
// returns its tag, in a chain after the result of the task before.
func (a *application) work(ctx context.Context, job *jobs.Job) error {
	var tag, before string
	var ms, fails int
	if err := job.Args(&tag, &ms, &fails, &before); err != nil {
		return err
	}
	if err := a.record(job, runStart); err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	failed, err := a.failed(job.ID)
	if err != nil {
		return err
	}
	if failed < fails {
		if err := a.record(job, runFail); err != nil {
			return err
		}
		return jobs.RetryAfter(50*time.Millisecond, errors.New("as it was told"))
	}
	if before != "" {
		tag = before + ">" + tag
	}
	return errors.Join(job.Return(tag), a.record(job, runEnd))
}

// crash ends the worker's process.
func (a *application) crash(_ context.Context, job *jobs.Job) error {
	if err := a.record(job, runStart); err != nil {
		return err
	}
	os.Exit(3)
	return nil
}

// collect returns its arguments: as a callback, its tag and the results of all members.
func (a *application) collect(_ context.Context, job *jobs.Job) error {
	texts := make([]string, job.Len())
	targets := make([]any, len(texts))
	for i := range texts {
		targets[i] = &texts[i]
	}
	if err := job.Args(targets...); err != nil {
		return err
	}
	return errors.Join(a.record(job, runStart), job.Return(texts), a.record(job, runEnd))
}

// record adds a step of an attempt to the file of its task.
func (a *application) record(job *jobs.Job, step string) error {
	return recordRun(a.runs, job.ID, job.Attempt, step)
}

// recordRun adds a step of an attempt to the file of its task.
func recordRun(dir, id string, attempt int, step string) error {
	line, err := json.Marshal(run{Attempt: attempt, At: time.Now().UnixNano(), Step: step})
	if err != nil {
		return err
	}
	return patiently(func() error {
		file, err := os.OpenFile(filepath.Join(dir, id), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = fmt.Fprintf(file, "%s\n", line)
		return err
	})
}

// patiently repeats f until the process can open a file. Without descriptors handlers wait,
// because a failure of their own would change the outcome.
func patiently(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, syscall.EMFILE) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// failed returns how many attempts at a task have recorded that they fail.
func (a *application) failed(id string) (int, error) { return failedRuns(a.runs, id) }

// failedRuns returns how many attempts at a task have recorded that they fail.
func failedRuns(dir, id string) (n int, err error) {
	var runs []run
	err = patiently(func() error {
		runs, err = readRuns(filepath.Join(dir, id))
		return err
	})
	for _, r := range runs {
		if r.Step == runFail {
			n++
		}
	}
	return n, err
}

// readRuns reads the file of a task.
func readRuns(path string) (runs []run, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		var r run
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}
