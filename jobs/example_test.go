package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/sqlite"
)

// A program enqueues a task and waits for its result. It must open the store that the
// workers use. In this example that is a file jobs.db, as in the folder that the server's
// flag -data sets. For the Redis server of the flag -broker, use redisstream.Open. The
// example has a worker so that the task runs; with a running server it is not needed.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "jobs-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := sqlite.Open(filepath.Join(dir, "jobs.db"), sqlite.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	stop := exampleWorker(ctx, store)
	defer stop()

	client := jobs.Client{Store: store}                                                                                      // with Tasks, Enqueue would check the arguments
	task, err := greet.Enqueue(ctx, &client, Greeting{Whom: "Tornado", Times: 1}, jobs.Expires(time.Now().Add(time.Minute))) // cancel it unless it starts within a minute
	if err != nil {
		fmt.Println(err)
		return
	}
	task, err = client.Wait(ctx, task.ID)
	if err != nil {
		fmt.Println(err)
		return
	}
	var greeting string
	if err := json.Unmarshal(task.Result, &greeting); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(task.State, greeting)
	// Output: success Hello, Tornado!
}

// Greeting is the input of the task greet.
type Greeting struct {
	Whom  string `json:"whom"`
	Times int    `json:"times" default:"1"`
}

// greet is a typed task: input and result are JSON.
var greet = jobs.Define("greet", func(_ context.Context, job *jobs.Job, in Greeting) (string, error) {
	job.Progress(50, "greeting")
	return strings.Repeat("Hello, "+in.Whom+"!", in.Times), nil
}, jobs.Retries(3), jobs.Timeout(time.Minute))

// exampleWorker runs a worker for the task greet.
func exampleWorker(ctx context.Context, store driver.Store) (stop func()) {
	tasks, err := jobs.NewRegistry(greet.Definition())
	if err != nil {
		panic(err)
	}
	worker, err := machinery.New(store, tasks, machinery.Options{Owner: "example/worker.0"})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		_ = worker.Run(ctx)
	}()
	return func() { cancel(); <-ended }
}
