package backup

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/uploads"
)

// writeFile creates a file with its folder.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o640)); err != nil {
		t.Fatal(err)
	}
}

// database creates a database in WAL mode with n rows, and returns it open.
func database(t *testing.T, path string, n int) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec("CREATE TABLE rows (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := db.Exec("INSERT INTO rows VALUES (?)", i); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// rows counts the rows of a database.
func rows(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRow("SELECT count(*) FROM rows").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A backup has all files with their attributes, and the databases as they are, although
// their newest rows are only in the log of a process that has them open.
func TestWrite(t *testing.T) {
	t.Parallel()
	data, to := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	database(t, filepath.Join(data, "jobs.db"), 3)
	if err := os.Mkdir(filepath.Join(data, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	database(t, filepath.Join(data, "app", "shop.db"), 5)
	for path, content := range map[string]string{
		"cookie-key": "secret", "artifacts/t1/plot.png": "plot", "uploads/d/e/a.txt": "first", "uploads/.incoming/X": "half",
		"uploads/.resumable/Y": "half", "parts/Z": "half", "uploads/.pending/R": "{}\n", "uploads/.place": "id\n", "jobs.db-turn": "",
		"app/notes-wal": "no database",
	} {
		writeFile(t, filepath.Join(data, path), content)
	}
	stored := filepath.Join(data, "uploads/d/e/a.txt")
	if err := unix.Setxattr(stored, "user.gale.sha256", []byte("sum"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(data, "uploads/d/link")), unix.Mkfifo(filepath.Join(data, "app/fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r, err := Write(t.Context(), Source{Data: data, Uploads: filepath.Join(data, "uploads")}, to)
	if err != nil || !r.Tasks || r.Files != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	want := []string{
		"app/notes-wal", "app/shop.db", "artifacts/t1/plot.png", "cookie-key", "jobs.db", "uploads/.pending/R", "uploads/d/e/a.txt",
	}
	if all := files(t, to); !slices.Equal(all, want) {
		t.Errorf("%q\nwant %q", all, want)
	}
	if n := rows(t, filepath.Join(to, "jobs.db")); n != 3 {
		t.Errorf("%d tasks", n)
	}
	if n := rows(t, filepath.Join(to, "app/shop.db")); n != 5 {
		t.Errorf("%d rows", n)
	}
	sum := make([]byte, 10)
	n, err := unix.Getxattr(filepath.Join(to, "uploads/d/e/a.txt"), "user.gale.sha256", sum)
	was, _ := os.Stat(stored)
	is, statErr := os.Stat(filepath.Join(to, "uploads/d/e/a.txt"))
	if err != nil || string(sum[:n]) != "sum" || statErr != nil || !was.ModTime().Equal(is.ModTime()) || was.Mode() != is.Mode() {
		t.Errorf("attributes: %q, %v, %v, %v, %v", sum[:max(n, 0)], err, statErr, was, is)
	}
}

// files returns the names of all files below a folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// put stores a file as a server does.
func put(t *testing.T, s *uploads.Store, name, content string) {
	t.Helper()
	if _, err := s.Put(t.Context(), rand.Text(), "d", name, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// A file that is stored while the tasks are copied is in the backup, and a server that
// starts on the backup calls Options.Stored for it. A file that was removed is not in it.
func TestFilesStoredMeanwhile(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "uploads")
	store, err := uploads.Open(from, uploads.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	put(t, store, "before", "1")
	put(t, store, "removed", "2")
	put(t, store, "replaced", "3")
	c, err := copyUploads(t.Context(), from, to, func() error {
		put(t, store, "late", "four")
		err := errors.Join(store.Remove(t.Context(), "d", "removed"), store.Remove(t.Context(), "d", "replaced"))
		put(t, store, "replaced", "five")
		return err
	})
	if err != nil || c.files != 3 || c.bytes != 9 {
		t.Errorf("%+v, %v", c, err)
	}
	found := make(chan string, 10)
	restored, err := uploads.Open(to, uploads.Options{Stored: func(_ context.Context, _ string, f uploads.File) error {
		found <- f.Filename
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = restored.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- restored.Run(ctx) }()
	names := []string{<-found, <-found}
	slices.Sort(names)
	if !slices.Equal(names, []string{"late", "replaced"}) {
		t.Errorf("Stored was called for %q", names)
	}
	stop()
	if err := <-ended; err != nil || len(found) > 0 {
		t.Errorf("%v, %d more calls", err, len(found))
	}
	for name, want := range map[string]string{"before": "1", "late": "four", "replaced": "five"} {
		if content, err := os.ReadFile(filepath.Join(to, "d", name)); err != nil || string(content) != want {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "d", "removed")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
}

// A backup that fails or is interrupted leaves nothing, and never changes an existing folder.
func TestNoBackup(t *testing.T) {
	t.Parallel()
	data, parent := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(data, "uploads/d/a"), "first")
	to := filepath.Join(parent, "backup")
	from := Source{Data: data, Uploads: filepath.Join(data, "uploads")}
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Write(interrupted, from, to); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	writeFile(t, filepath.Join(data, "jobs.db"), databaseHead+"but damaged")
	if _, err := Write(t.Context(), from, to); err == nil {
		t.Error("a damaged task store was copied")
	}
	if _, err := Write(t.Context(), Source{Data: filepath.Join(data, "none"), Uploads: "none"}, to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no data: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := os.Remove(filepath.Join(data, "jobs.db")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(to, "mine"), "")
	if _, err := Write(t.Context(), from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the folder exists: %v", err)
	}
	if all := files(t, to); !slices.Equal(all, []string{"mine"}) {
		t.Errorf("an existing folder now has %q", all)
	}
}
