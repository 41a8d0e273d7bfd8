package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/galeserver/gale/jobs"
)

// The command tasks finds its store as the server does, ignores flags of the server in
// the file, and does not read its filters from the environment.
func TestTasksOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gale.conf")
	if err := os.WriteFile(file, []byte("port 1001\nqueue a,b\ndata /elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := LoadTasks(program, []string{"-config", file, "-queue", "mine", "-json"}, []string{"GALE_QUEUE=x", "GALE_PORT=no", "GALE_LIMIT=7"}, false)
	if err != nil || o.Data != "/elsewhere" || o.Query.Queue != "mine" || o.Query.Limit != 50 || !o.JSON || o.Broker != SQLite {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = LoadTasks(program, nil, []string{"GALE_QUEUE=x", "GALE_REDIS=redis://h"}, false); err != nil || o.Query.Queue != "" || o.Broker != "redis://h" {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = LoadTasks(program, []string{"-state", "gone", "-limit", "0", "-data", "", "-port", "1", "-log-level", "loud"}, nil, false)
	if faults, ok := errors.AsType[Faults](err); !ok || len(faults) < 5 {
		t.Errorf("%v", err)
	}
	_, err = LoadTasks(program, []string{"-state", "", "-task", "", "-queue="}, []string{"GALE_BROKER="}, false)
	if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 4 {
		t.Errorf("empty values: %v", err)
	}
	o, err = LoadTasks(program, []string{"-state", "queued,dead", "-state", "retrying"}, nil, false)
	if want := []jobs.State{jobs.StateQueued, jobs.StateDead, jobs.StateRetrying}; err != nil || !slices.Equal(o.Query.States, want) {
		t.Errorf("%v, %v", o.Query.States, err)
	}
	if err := os.WriteFile(file, []byte("nonsense 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTasks(program, []string{"-config", file}, nil, false); err == nil {
		t.Error("an unknown flag in the file is ignored")
	}
}
