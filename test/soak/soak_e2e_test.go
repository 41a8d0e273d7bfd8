//go:build e2e

package soak_test

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/test/harness"
)

const (
	// interval is the time between two samples.
	interval = 2 * time.Second
	// leastMinutes is the shortest run. Its warm-up is longer than ten minutes, for which the
	// progress of each resumable upload is kept in Redis.
	leastMinutes = 45
)

// TestSoak is the run of `make soak`. SOAK_MINUTES and SOAK_STORE are its arguments. The first
// quarter is the warm-up: caches, pools and histories of channels fill.
func TestSoak(t *testing.T) {
	text := os.Getenv("SOAK_MINUTES")
	if text == "" {
		t.Skip("start it by make soak")
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil || minutes < leastMinutes {
		t.Fatalf("MINUTES=%s is not a number of at least %d", text, leastMinutes)
	}
	store := cmp.Or(os.Getenv("SOAK_STORE"), "redis")
	if store != "sqlite" && store != "redis" {
		t.Fatalf("STORE=%s is not sqlite or redis", store)
	}
	long := time.Duration(minutes * float64(time.Minute))
	s := newSite(t, store)
	w := startWorkload(t, s.Server)
	all := map[string][]float64{}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	samples := 0 // a busy machine may need more time for enough of them
	for began := time.Now(); time.Since(began) < long || samples < 2*blocks; <-tick.C {
		sample := s.sample(t)
		if time.Since(began) < long/4 {
			continue
		}
		samples++
		for name, value := range sample {
			all[name] = append(all[name], value)
		}
	}
	w.stop(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l, err := fit(all[name])
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case l.grows():
			t.Errorf("%-40s grows: %v", name, l)
		default:
			t.Logf("%-40s %v", name, l)
		}
	}
	for name, slot := range s.Slots(t) {
		if slot.Restarts != 0 || slot.State != "live" {
			t.Errorf("%s: %s, %d restarts", name, slot.State, slot.Restarts)
		}
	}
}

// site is a server and what it stores.
type site struct {
	*harness.Server
	dir   string
	redis *redistest.Server // nil for tasks in SQLite
}

// The log of a task reaches its limit of 64 KiB during the warm-up.
const tasksFile = `
[tasks.fails]
argv = ["sh", "-c", "printf '%04000d\\n' 0; exit 1"]
`

func newSite(t *testing.T, store string) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	flags := []string{"-procs", "2", "-workers", "1", "-on-upload", "", "-tasks", harness.TasksFile(t, tasksFile)}
	if store == "redis" {
		s.redis = redistest.StartAOF(t)
		flags = append(flags, "-redis", s.redis.URL())
	}
	s.Server = harness.Start(t, s.dir, flags...)
	return s
}

// sample reads all figures.
func (s *site) sample(t *testing.T) map[string]float64 {
	t.Helper()
	metrics := s.Metrics(t)
	figures := map[string]float64{"memory, MiB": float64(s.Memory(t)) / (1 << 20)}
	for _, pid := range s.Processes(t) {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		figures["descriptors"] += float64(len(open))
	}
	for name, slot := range s.Slots(t) {
		figures["goroutines of "+name] = metrics.Sum("go_goroutines", "slot="+name)
		figures["resident memory of "+name+", MiB"] = float64(slot.RSS) / (1 << 20)
	}
	figures["files"], figures["size of files, MiB"] = s.files(t)
	if s.redis != nil {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		figures["keys in Redis"] = float64(s.redis.Client().DBSize(ctx).Val())
		for line := range strings.Lines(s.redis.Client().Info(ctx, "memory").Val()) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory_dataset:"); ok {
				n, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				figures["data in Redis, MiB"] = n / (1 << 20)
			}
		}
	}
	return figures
}

// files returns the number and the size of the files of the server. The results of resumable
// uploads are not counted: they are kept for an hour.
func (s *site) files(t *testing.T) (number, size float64) {
	t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // removed meanwhile
			}
			return err
		}
		if e.IsDir() && e.Name() == "done" {
			return filepath.SkipDir
		}
		if info, err := e.Info(); err == nil {
			number, size = number+1, size+float64(info.Size())/(1<<20)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return number, size
}
