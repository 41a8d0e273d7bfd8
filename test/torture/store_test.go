package torture_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// checkStore checks the SQLite file of a task store that no process has open.
func checkStore(path string) (all []violation) {
	broken := func(text string) { all = append(all, violation{promiseStore, filepath.Base(path), text}) }
	if _, err := os.Stat(path); err != nil { // SQLite would create it
		broken(err.Error())
		return all
	}
	lines, err := integrity(path)
	if err != nil {
		broken("PRAGMA integrity_check: " + err.Error())
	}
	for _, line := range lines {
		if line != "ok" {
			broken(line)
		}
	}
	return all
}

// integrity returns the lines of PRAGMA integrity_check.
func integrity(path string) (lines []string, err error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.Query("PRAGMA integrity_check")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
	return lines, rows.Err()
}

func TestCheckStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a)"); err != nil {
		t.Fatal(err)
	}
	for n := range 1000 {
		if _, err := db.Exec("INSERT INTO t VALUES (?)", fmt.Sprint(strings.Repeat("a", 100), n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, v := range checkStore(path) {
		t.Errorf("whole file: %v", v)
	}
	if len(checkStore(path+".missing")) == 0 {
		t.Error("a missing file is not found")
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	if _, err := file.WriteAt(make([]byte, page), 5*page); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if len(checkStore(path)) == 0 {
		t.Error("a page of zeros is not found")
	}
}
