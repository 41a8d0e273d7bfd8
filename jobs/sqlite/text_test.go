package sqlite_test

import (
	"database/sql"
	"testing"

	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/sqlite"
)

// Invalid texts that an older version has stored are valid when they are read.
func TestStoredTextIsRepaired(t *testing.T) {
	path := temp(t)
	s := open(t, path, sqlite.Options{})
	jobstest.EnqueueForRepair(t, s)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, change := range []string{
		`UPDATE tasks SET args = CAST(x'5b2261fffe62222c225c7564383030225d' AS TEXT), result = CAST(x'22ff22' AS TEXT),
			note = CAST(x'6eff' AS TEXT), error = CAST(x'65ff' AS TEXT)`,
		`UPDATE groups SET reason = CAST(x'72ff' AS TEXT)`,
		`INSERT INTO logs (seq, text) SELECT seq, CAST(x'6cff' AS TEXT) FROM tasks`,
	} {
		if _, err := db.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	jobstest.WantRepaired(t, s)
}
