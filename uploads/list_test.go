package uploads

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/pool"
)

func names(entries []Entry) (all []string) {
	for _, e := range entries {
		all = append(all, e.Name)
	}
	return all
}

func TestListPages(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	var want []string
	const n = 2*listBatch + 7
	for i := range n {
		name := fmt.Sprintf("%03d ü", (i*37)%n)
		mustPut(t, s, "d/many", name, "x")
		want = append(want, name)
	}
	slices.Sort(want)
	for _, limit := range []int{1, 100, n - 1, n, n + 1, MaxList + 5} {
		var got []string
		for next := "first"; next != ""; {
			after := strings.TrimPrefix(next, "first")
			page, following, err := s.List(t.Context(), "d/many", after, limit)
			if err != nil || len(page) == 0 || len(page) > min(limit, MaxList) {
				t.Fatalf("limit %d: %d entries, %v", limit, len(page), err)
			}
			got = append(got, names(page)...)
			next = following
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %d names", limit, len(got))
		}
	}
}

func TestListContents(t *testing.T) {
	s, parent := storeWithNeighbours(t, Options{})
	mustPut(t, s, "d/sub", "a", "content")
	mustPut(t, s, "d", "b", "more content")
	up := filepath.Join(parent, "up")
	if err := errors.Join(os.WriteFile(filepath.Join(up, "d", ".hidden"), nil, 0o600), unix.Mkfifo(filepath.Join(up, "d", "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for directory, want := range map[string][]string{"": {"d", "file", "real"}, "d": {"b", "sub"}, "d/sub": {"a"}, "real": {"a"}} {
		got, next, err := s.List(t.Context(), directory, "", MaxList)
		if err != nil || next != "" || !slices.Equal(names(got), want) {
			t.Errorf("%q: %v, %v, %v", directory, names(got), next, err)
		}
	}
	got, _, _ := s.List(t.Context(), "d", "", 10)
	if b, sub := got[0], got[1]; b.Folder || b.Size != 12 || b.Modified.IsZero() || !sub.Folder || sub.Size != 0 {
		t.Errorf("got %+v", got)
	}
	for _, none := range []string{"none", "d/b", "d/fifo", "d/none/deeper"} {
		if got, _, err := s.List(t.Context(), none, "", 10); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, %v", none, got, err)
		}
	}
	for _, bad := range []string{"..", "/", "d/../..", incoming, "out", "in", "dots", "loop", "d/"} {
		if got, _, err := s.List(t.Context(), bad, "", 10); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func TestListClosedPool(t *testing.T) {
	p := pool.New(pool.Options{Workers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), Options{Pool: p})
	if _, _, err := s.List(t.Context(), "", "", 1); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// ReadDir must not call lstat for each name of a large folder: then Info would return what
// ReadDir has found, also for a removed file.
func TestListReadsOnlyNames(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	names, err := openNames(root)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	entries, err := names.ReadDir(-1)
	if err != nil || len(entries) != 1 || !entries[0].Type().IsRegular() {
		t.Fatalf("%v, %v", entries, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if info, err := entries[0].Info(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir has called lstat: %v, %v", info, err)
	}
}
