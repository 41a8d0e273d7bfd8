package harness

import (
	"testing"

	"github.com/galeserver/gale/internal/redistest"
)

// OnStateServers runs a test with the embedded state server and with a
// redis-server, with the flags for it.
func OnStateServers(t *testing.T, test func(t *testing.T, flags []string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { t.Parallel(); test(t, nil) })
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		test(t, []string{"-redis", redistest.Start(t).URL()})
	})
}

// TaskStores returns the flags for each kind of task store.
var TaskStores = map[string]func(t *testing.T) []string{
	"sqlite": func(*testing.T) []string { return nil },
	"redis":  func(t *testing.T) []string { return []string{"-broker", redistest.Start(t).URL()} },
}

// OnTaskStores runs a test on each kind of task store, with the flags for it.
func OnTaskStores(t *testing.T, test func(t *testing.T, where []string)) {
	t.Parallel()
	for name, flags := range TaskStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, flags(t))
		})
	}
}
