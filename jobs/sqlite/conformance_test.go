package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/sqlite"
)

func TestConformance(t *testing.T) {
	dir := sqlite.InMemory(t)
	jobstest.Run(t, func(t *testing.T, o jobstest.Options) driver.Store {
		t.Helper()
		// The stores of one check share a file.
		path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", ".")+".db")
		s, err := sqlite.Open(path, sqlite.Options{LeaseTTL: o.LeaseTTL, MaxLost: o.MaxLost, Keep: o.Keep})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
