package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gale/jobs"
	"gale/jobs/jobstest"
	"gale/jobs/sqlite"
)

func TestConformance(t *testing.T) {
	dir := sqlite.InMemory(t)
	o := jobstest.Options{LeaseTTL: 400 * time.Millisecond, MaxLost: 3}
	jobstest.Run(t, func(t *testing.T, keep time.Duration) jobs.Store {
		t.Helper()
		// The handles of one story share a file.
		path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", ".")+".db")
		s, err := sqlite.Open(path, sqlite.Options{LeaseTTL: o.LeaseTTL, MaxLost: o.MaxLost, Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, o)
}
