package quota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/uploads"
)

// place is a ledger with the store that it counts.
type place struct {
	*Ledger
	store *uploads.Store
	dir   string
}

func open(t *testing.T, dir string, o Options) place {
	t.Helper()
	l, err := Open(t.Context(), filepath.Join(dir, "quota ü?.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	store, err := uploads.Open(filepath.Join(dir, "files"), uploads.Options{Quota: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	return place{l, store, dir}
}

// put stores a file of a size as a sender.
func (p place) put(t *testing.T, name, subject string, size int) error {
	t.Helper()
	directory, filename := filepath.Split(name)
	permit, err := p.store.Admit(t.Context(), uploads.Proposal{Directory: strings.TrimSuffix(directory, "/"), Filename: filename, Size: -1, Sender: uploads.Sender{Subject: subject}})
	if err != nil {
		return err
	}
	u, err := p.store.Create(t.Context(), permit.Directory, permit.Filename)
	if err != nil {
		return err
	}
	defer u.Discard()
	u.Apply(permit)
	if _, err := u.Write(t.Context(), make([]byte, size)); err != nil {
		return err
	}
	f, err := u.Publish(t.Context(), permit.Directory, permit.Filename)
	if errors.Is(err, uploads.ErrQuota) && (f.Code != uploads.CodeRefused || !strings.Contains(f.Reason, "over quota")) {
		t.Errorf("%+v", f)
	}
	return err
}

func (p place) want(t *testing.T, name, subject string, size int, kind error) {
	t.Helper()
	if err := p.put(t, name, subject, size); !errors.Is(err, kind) {
		t.Errorf("%s of %d bytes by %q: %v, want %v", name, size, subject, err, kind)
	}
}

// Directories include those below them and not their neighbours; removed and refused files
// count for nothing. It all survives a restart.
func TestLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refused := 0
	o := Options{Directories: map[string]int64{"a": 100, "a/b": 50, "": 1000}, Subject: 60, Refused: func() { refused++ }}
	p := open(t, dir, o)
	p.want(t, "a/b/1", "", 40, nil)
	p.want(t, "a/b/2", "", 11, uploads.ErrQuota)
	p.want(t, "a/b/c/2", "", 11, uploads.ErrQuota)
	p.want(t, "a/b/c/2", "", 10, nil)
	p.want(t, "a/b/c/3", "", 0, uploads.ErrQuota) // nothing is left
	p.want(t, "a/1", "", 51, uploads.ErrQuota)
	p.want(t, "a/1", "", 50, nil)
	p.want(t, "a0/1", "", 500, nil) // not below a
	p.want(t, "a-/1", "", 10, nil)
	p.want(t, "z/1", "ann", 60, nil)
	p.want(t, "z/1", "bob", 10, uploads.ErrExists) // counts nothing
	p.want(t, "z/2", "ann", 1, uploads.ErrQuota)
	p.want(t, "z/2", "bob", 60, nil)
	p.want(t, "y/1", "", 271, uploads.ErrQuota) // 100+500+10+60+60 are used
	if err := p.store.Remove(t.Context(), "z", "1"); err != nil {
		t.Fatal(err)
	}
	p.want(t, "z/2", "ann", 60, uploads.ErrExists)
	p.want(t, "z/3", "ann", 60, nil)
	if refused != 6 {
		t.Errorf("%d calls of Refused", refused)
	}
	again := open(t, dir, o)
	again.want(t, "z/4", "ann", 1, uploads.ErrQuota)
	again.want(t, "a/2", "", 1, uploads.ErrQuota)
	again.want(t, "y/1", "", 270, nil)
	again.want(t, "y/2", "", 1, uploads.ErrQuota)
}

// A size that is announced is refused before the content.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	p := open(t, t.TempDir(), Options{Directories: map[string]int64{"": 10}})
	for size, kind := range map[int64]error{10: nil, 11: uploads.ErrQuota, -1: nil} {
		if _, err := p.store.Admit(t.Context(), uploads.Proposal{Directory: "d", Filename: "a", Size: size}); !errors.Is(err, kind) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// Uploads at the same time in two processes do not exceed a limit together.
func TestRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{Directories: map[string]int64{"d": 105}}
	places := []place{open(t, dir, o), open(t, dir, o)}
	var all sync.WaitGroup
	var stored atomic.Int64
	for i := range 32 {
		all.Go(func() {
			switch err := places[i%2].put(t, fmt.Sprint("d/", i), "", 10); {
			case err == nil:
				stored.Add(1)
			case !errors.Is(err, uploads.ErrQuota):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if stored.Load() != 10 {
		t.Errorf("%d files of 10 bytes in 105", stored.Load())
	}
}

// A count finds files that another program has stored or removed, and rows of a process that
// was killed. Only one process counts per hour.
func TestCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := open(t, dir, Options{Directories: map[string]int64{"d": 100}, Subject: 100})
	p.want(t, "d/gone", "ann", 60, nil)
	p.want(t, "d/stays", "ann", 10, nil)
	if err := p.Add(t.Context(), "KILLED", uploads.Permit{Directory: "d", Filename: "stays", Subject: "ann"}, 20); err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(dir, "files/d")
	if err := errors.Join(os.Remove(filepath.Join(files, "gone")), os.Mkdir(filepath.Join(files, "new"), 0o700), os.WriteFile(filepath.Join(files, "new/one"), make([]byte, 30), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := p.count(t.Context(), p.store, time.Now()); err != nil {
		t.Fatal(err)
	}
	p.want(t, "d/a", "", 1, uploads.ErrQuota) // 60+10+20+30: the rows without files are young
	if err := p.count(t.Context(), p.store, time.Now().Add(2*minAge)); err != nil {
		t.Fatal(err)
	}
	p.want(t, "d/a", "", 61, uploads.ErrQuota)
	p.want(t, "d/a", "", 60, nil)
	p.want(t, "e/a", "ann", 91, uploads.ErrQuota)
	p.want(t, "e/a", "ann", 90, nil)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx, p.store); err != nil {
		t.Error(err)
	}
	for i := range 2 {
		var before, after int64
		scan := func(at *int64) {
			if err := p.db.QueryRow(`SELECT at FROM counts`).Scan(at); err != nil {
				t.Fatal(err)
			}
		}
		scan(&before)
		if err := p.countIfDue(t.Context(), p.store); err != nil {
			t.Fatal(err)
		}
		if scan(&after); (after != before) != (i == 0) {
			t.Errorf("count %d: %d, %d", i, before, after)
		}
	}
}

// Open reports a file that is not a ledger.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "quota.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(t.Context(), path, Options{}); err == nil {
		t.Errorf("opened %v", l)
	}
}
