package uploads

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sumOf(t *testing.T, s *Store, directory, filename string) (string, bool) {
	t.Helper()
	f, err := s.Open(directory, filename)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := f.Info().SHA256
	return sum, sum != ""
}

func TestSum(t *testing.T) {
	eachKind(t, Options{}, func(t *testing.T, s *Store) {
		mustPut(t, s, "d", "taken", "other")
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		for _, p := range []string{"con", "tent"} { // Publish fails, then the file grows
			if _, err := u.Write(t.Context(), []byte(p)); err != nil {
				t.Fatal(err)
			}
			if _, err := u.Publish(t.Context(), "d", "taken"); !errors.Is(err, ErrExists) {
				t.Fatal(err)
			}
		}
		if _, err := u.Publish(t.Context(), "d", "a"); err != nil {
			t.Fatal(err)
		}
		if got, ok := sumOf(t, s, "d", "a"); !ok || got != sum("content") {
			t.Errorf("got %q, %v", got, ok)
		}
	})
}

// The sum is unknown if the file may have changed since the sum was stored.
func TestSumOfChangedFile(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	path := filepath.Join(s.disk.root.Name(), "d", "a")
	for name, change := range map[string]func() error{
		"same size, later":  func() error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
		"another size":      func() error { return os.Truncate(path, 3) },
		"another attribute": func() error { return unix.Setxattr(path, sumAttribute, []byte("x 7 0"), 0) },
		"a long attribute":  func() error { return unix.Setxattr(path, sumAttribute, make([]byte, 1000), 0) },
		"no attribute":      func() error { return unix.Removexattr(path, sumAttribute) },
	} {
		mustPut(t, s, "d", "a", "content")
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if got, ok := sumOf(t, s, "d", "a"); ok || got != "" {
			t.Errorf("%s: %q", name, got)
		}
		if err := s.Remove(t.Context(), "d", "a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSumWithoutAttributes(t *testing.T) {
	for _, with := range []error{unix.EOPNOTSUPP, unix.ENOSPC} {
		s := openStore(t, t.TempDir(), Options{}, func(c *syscalls) {
			c.setxattr = func(*os.File, string, []byte) error { return with }
		})
		mustPut(t, s, "d", "a", "content")
		if got, ok := sumOf(t, s, "d", "a"); ok {
			t.Errorf("got %q", got)
		}
	}
}
