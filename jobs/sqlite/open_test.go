package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/sqlite"
)

func TestManyProcessesOpenAtOnce(t *testing.T) {
	const processes = 8
	for range 3 {
		path := temp(t)
		var all []*process
		for range processes {
			p := start(t, "open", path)
			all = append(all, p)
			p.await(t)
		}
		for _, p := range all {
			p.stdin.Close() // now
		}
		for _, p := range all {
			if said := p.await(t); said != "done" {
				t.Errorf("output %q", said)
			}
			if err := p.Wait(); err != nil {
				t.Error(err)
			}
		}
		wantSound(t, path)
		s := open(t, path, sqlite.Options{})
		for _, p := range all {
			if _, err := s.Get(t.Context(), fmt.Sprint("p", p.Process.Pid)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestFileModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := temp(t)
	s := open(t, path, sqlite.Options{})
	accept(t, s, "a")
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "jobs.db jobs.db-shm jobs.db-turn jobs.db-wal"; got != want {
		t.Errorf("files are %s, want %s", got, want)
	}
}

func TestOpenAcceptsAnyPath(t *testing.T) {
	for _, name := range []string{"a?mode=memory", "b#c", "d%20e", "f&g=h", "größe 世界", `q"u'o\te`} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path, sqlite.Options{})
		if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: "a", Name: "work"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	newer := filepath.Join(dir, "newer.db")
	s, err := sqlite.Open(newer, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustExec(t, newer, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 99")
	foreign := filepath.Join(dir, "foreign.db")
	mustExec(t, foreign, "CREATE TABLE customers (name TEXT)")
	versioned := filepath.Join(dir, "versioned.db")
	mustExec(t, versioned, "PRAGMA user_version = 1")
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("not a database\n"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		newer:                              "newer version",
		foreign:                            "another program",
		versioned:                          "another program",
		garbage:                            "not a task store",
		dir:                                "cannot be opened",
		filepath.Join(dir, "none", "x.db"): "no such file or directory",
	} {
		before, _ := os.ReadFile(path)
		err := sqlite.Check(path)
		if missing := strings.Contains(want, "no such file"); missing != (err == nil) || !missing && !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%s) = %v", path, err)
		}
		s, err := sqlite.Open(path, sqlite.Options{})
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", path)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %q, want the path and %q", err, want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", path)
		}
	}
}

func TestOpenAcceptsEmptyFile(t *testing.T) {
	path := temp(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Check(path); err != nil {
		t.Error(err)
	}
	s := open(t, path, sqlite.Options{})
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, jobs.ErrNotFound) {
		t.Error(err)
	}
	if err := sqlite.Check(path); err != nil {
		t.Errorf("an open store: %v", err)
	}
}

// SQLite would continue to write to a deleted file.
func TestRemovedFile(t *testing.T) {
	path := temp(t)
	s := open(t, path, sqlite.Options{})
	n := jobs.NewTask{ID: "a", Name: "work"}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Enqueue(t.Context(), n); !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), path) {
		t.Errorf("without the file: %v", err)
	}
	if err := os.Rename(path+".moved", path); err != nil {
		t.Fatal(err)
	}
	if _, created, err := s.Enqueue(t.Context(), n); err != nil || !created {
		t.Errorf("with the file again: %v, %v", created, err)
	}
}

func TestDamagedFile(t *testing.T) {
	empty, err := os.Stat(emptyStore(t))
	if err != nil {
		t.Fatal(err)
	}
	path := temp(t)
	s := open(t, path, sqlite.Options{})
	fill(t, s, 1000)
	if err := s.Close(); err != nil { // moves all data from the WAL to the file
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := int(empty.Size()); i < len(data); i++ { // the schema's pages stay
		data[i] = 0x5a
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, sqlite.Options{})
	_, err = s.Get(t.Context(), "t500")
	if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Get from a damaged file: %v", err)
	}
	_, _, err = s.Enqueue(t.Context(), jobs.NewTask{ID: "t500", Name: "work"})
	if !errors.Is(err, jobs.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Enqueue to a damaged file: %v", err)
	}
}

// emptyStore returns the path of a file that has only the schema.
func emptyStore(t *testing.T) string {
	t.Helper()
	path := temp(t)
	if err := open(t, path, sqlite.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustExec(t *testing.T, path, statements string) {
	t.Helper()
	db := raw(t, path)
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
