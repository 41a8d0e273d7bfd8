package machinery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/machinery"
)

func function(t *testing.T, name string, fn any) jobs.Definition {
	t.Helper()
	d, err := jobs.Function(name, fn)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Functions in the form of machinery run unchanged, and their arguments are checked.
func TestFunctions(t *testing.T) {
	tried := 0
	again := function(t, "again", func() error {
		if tried++; tried == 1 {
			return tasks.NewErrRetryTaskLater("not yet", time.Millisecond)
		}
		return nil
	})
	again.MaxRetries = 1
	f := newFixture(t, again,
		function(t, "add", func(_ context.Context, a int64, b uint8) (int64, error) { return a + int64(b), nil }),
		function(t, "mixed", func(s string, x float64, sure bool) (string, bool, error) { return fmt.Sprint(s, x), !sure, nil }),
		function(t, "fails", func() error { return errors.New("as it must") }),
	)
	f.work(t, machinery.Options{})
	for _, row := range []struct{ name, args, result, fails string }{
		{"add", `[9007199254740993,7]`, "9007199254741000", ""},
		{"add", `[1,300]`, "", "wrong arguments: argument 2 of add must be an integer from 0 to 255, not number 300"},
		{"mixed", `["a",0.5,true]`, `["a0.5",false]`, ""},
		{"fails", `[]`, "", "as it must"},
		{"again", `[]`, "", ""},
	} {
		task := f.enqueue(t, jobs.NewTask{Name: row.name, Args: json.RawMessage(row.args)})
		task = f.await(t, task.ID, final)
		if string(task.Result) != row.result || task.Error != row.fails || (task.State == jobs.StateSuccess) != (row.fails == "") {
			t.Errorf("%s%s: %s %s %q", row.name, row.args, task.State, task.Result, task.Error)
		}
	}
	if _, _, err := f.client.Enqueue(t.Context(), jobs.NewTask{Name: "add", Args: json.RawMessage(`["1",2]`)}); !errors.Is(err, jobs.ErrArgs) {
		t.Errorf("a text for a number: %v", err)
	}
}

func TestNoFunctions(t *testing.T) {
	for name, fn := range map[string]any{
		"nil":        nil,
		"a nil func": (func() error)(nil),
		"a number":   7,
		"no error":   func() int { return 0 },
		"nothing":    func() {},
		"a slice":    func([]string) error { return nil },
		"variadic":   func(...string) error { return nil },
		"own error":  func() *jobs.RetryError { return nil },
		"late ctx":   func(string, context.Context) error { return nil },
	} {
		if _, err := jobs.Function("f", fn); err == nil || !strings.HasPrefix(err.Error(), "not a task function: f") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
