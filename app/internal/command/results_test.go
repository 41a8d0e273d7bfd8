package command

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
	"github.com/galeserver/gale/jobs/sqlite"
)

// Arguments that were not validated when the task was accepted, such as the result of
// another task, are converted to strings and validated before the program starts.
func TestUncheckedArguments(t *testing.T) {
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "jobs.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	specs := load(t, `
		[tasks.print]
		argv = ["printf", "[%s][%s]", "{0}", "x{1}"]
		retry_codes = [1]`)
	tasks, err := jobs.NewRegistry(Task(specs[0], Env{Path: "/usr/bin:/bin", Temp: t.TempDir()}))
	if err != nil {
		t.Fatal(err)
	}
	w, err := machinery.New(store, tasks, machinery.Options{Owner: "w"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		_ = w.Run(ctx)
	}()
	defer func() { cancel(); <-ended }()
	client := &jobs.Client{Store: store}
	for args, want := range map[string]string{
		`["a","b"]`:                          "[a][xb]",
		`[{"output":"said {1}"},null]`:       "[said {1}][x]",
		`[{"output":"said","more":1},[1,2]]`: `[{"output":"said","more":1}][x[1,2]]`,
		`[7.50,true]`:                        "[7.50][xtrue]",
		`["only one"]`:                       "wrong arguments: print takes 2, got 1",
		`["a","b","c"]`:                      "wrong arguments: print takes 2, got 3",
		`[{"output":"-n"},"b"]`:              "must not begin with a hyphen",
		`["a\u0000","b"]`:                    "contains a zero byte",
		`["` + strings.Repeat("a", 131_072) + `","b"]`:            "131072 bytes long, more than the limit of 131071",
		`["a",{"output":"` + strings.Repeat("a", 131_071) + `"}]`: "131072 bytes long, more than the limit of 131071", // with its x
	} {
		task, _, err := client.Enqueue(ctx, jobs.NewTask{Name: "print", Args: json.RawMessage(args), MaxRetries: 3})
		if err == nil {
			task, err = client.Wait(ctx, task.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got result
		if task.State == jobs.StateSuccess {
			err = json.Unmarshal(task.Result, &got)
		}
		if good := strings.HasPrefix(want, "["); err != nil || good && got.Output != want || !good && (!strings.Contains(task.Error, want) || task.Attempts != 1) {
			t.Errorf("%.80s: %s %s %.80q after %d attempts, want %q", args, task.State, task.Result, task.Error, task.Attempts, want)
		}
	}
}
