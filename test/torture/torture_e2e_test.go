//go:build e2e

package torture_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sizes of a run.
const (
	clients     = 8
	subscribers = 4
	channels    = 2
)

// shortTime is the length of the runs of `make e2e`.
const shortTime = 8 * time.Second

// Stores.
const (
	storeSQLite   = "sqlite"
	storeRedis    = "redis"
	storeMachines = "machines" // Redis and object storage, for two machines
)

// TestE2ETorture runs fixed seeds at the same time. Each has many kinds of faults, and one kill
// of the master, early: its tasks wait half a minute for their leases to expire.
func TestE2ETorture(t *testing.T) {
	for store, seed := range map[string]uint64{storeSQLite: 18016, storeRedis: 45707, storeMachines: 14998} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			torture(t, store, seed, shortTime)
		})
	}
}

// TestTorture is the run of `make torture`. TORTURE_MINUTES, TORTURE_SEED and TORTURE_STORE
// are its arguments.
func TestTorture(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("TORTURE_MINUTES"), 64)
	if os.Getenv("TORTURE_MINUTES") == "" {
		t.Skip("start it by make torture")
	}
	if err != nil || minutes <= 0 {
		t.Fatalf("MINUTES=%s is not a positive number", os.Getenv("TORTURE_MINUTES"))
	}
	seed := rand.Uint64N(1_000_000)
	if text := os.Getenv("TORTURE_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED=%s is not a number", text)
		}
	}
	store := cmp.Or(os.Getenv("TORTURE_STORE"), storeSQLite)
	if !slices.Contains([]string{storeSQLite, storeRedis, storeMachines}, store) {
		t.Fatalf("STORE=%s is not %s, %s or %s", store, storeSQLite, storeRedis, storeMachines)
	}
	torture(t, store, seed, time.Duration(minutes*float64(time.Minute)))
}

// torture runs operations and faults for some time, waits until everything has ended, and
// checks all promises.
func torture(t *testing.T, store string, seed uint64, long time.Duration) {
	t.Logf("seed %d on %s for %v", seed, store, long)
	began := time.Now()
	out, err := os.Create(filepath.Join(t.TempDir(), "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	h := &history{out: out}
	y := newSystem(t, store)
	w := &workload{t: t, system: y, h: h, seed: seed}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	f := &faults{system: y, h: h, rng: rand.New(rand.NewPCG(seed, 1<<32)), count: map[string]int{}}
	var faulty sync.WaitGroup
	faulty.Go(func() { f.run(ctx, store) }) // ends with ctx
	w.run(ctx)
	faulty.Wait()
	y.ready()
	w.settle()
	end := w.collect()
	w.stop()
	ops := h.all()
	violations := check(ops, end)
	if store == storeSQLite {
		y.sites[0].stop()
		violations = append(violations, checkStore(filepath.Join(y.sites[0].data, "jobs.db"))...)
	}
	if h.err != nil {
		t.Error(h.err)
	}
	t.Logf("seed %d on %s, %v of %v\n%s", seed, store, long, time.Since(began).Round(time.Second), table(ops, f.counts(), violations))
	for _, v := range violations {
		t.Error(v)
	}
	if t.Failed() {
		keep(t, y, out.Name())
		t.Errorf("repeat the operations and faults, at other times, with: make torture MINUTES=%.2f SEED=%d STORE=%s", long.Minutes(), seed, store)
	}
}

// table lists the operations, the faults, and the violations by their promises.
func table(ops []op, faults map[string]int, violations []violation) string {
	type row struct{ all, lost, refused, failed int }
	kinds := map[string]*row{}
	for _, o := range ops {
		if o.Kind == kindFault {
			continue
		}
		r := kinds[o.Kind]
		if r == nil {
			r = &row{}
			kinds[o.Kind] = r
		}
		r.all++
		switch {
		case o.Status == 0:
			r.lost++
		case o.Status >= 500:
			r.failed++
		case o.Status >= 400:
			r.refused++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-40s %8s %8s %8s %8s\n", "operation", "count", "lost", "4xx", "5xx")
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		r := kinds[kind]
		fmt.Fprintf(&b, "%-40s %8d %8d %8d %8d\n", kind, r.all, r.lost, r.refused, r.failed)
	}
	fmt.Fprintf(&b, "%-40s %8d\n%-40s %8s\n", "all", len(ops), "fault", "count")
	total := 0
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "%-40s %8d\n", name, faults[name])
		total += faults[name]
	}
	fmt.Fprintf(&b, "%-40s %8d\n%-40s %8d\n", "all", total, "violations", len(violations))
	broken := map[string]int{}
	for _, v := range violations {
		broken[v.promise]++
	}
	for _, promise := range slices.Sorted(maps.Keys(broken)) {
		fmt.Fprintf(&b, "%-40s %8d\n", promise, broken[promise])
	}
	return b.String()
}

// keep copies the history, the logs and the folders of the servers to a folder that stays after
// the test.
func keep(t *testing.T, y *system, history string) {
	dir, err := os.MkdirTemp("", "gale-torture-")
	if err != nil {
		t.Error(err)
		return
	}
	text, err := os.ReadFile(history)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "history.jsonl"), text, 0o600)
	}
	for i, s := range y.sites {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprint("server", i, ".log")), []byte(s.log()), 0o600)
		}
		if err == nil {
			s.current().Kill()
			err = os.CopyFS(filepath.Join(dir, fmt.Sprint("server", i)), os.DirFS(s.dir))
		}
	}
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "runs"), os.DirFS(y.runs))
	}
	t.Logf("history, logs and data are kept in %s (%v)", dir, err)
}
