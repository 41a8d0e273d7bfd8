package uploadstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/uploads"
)

// verdicts are the verdicts about files, by filename.
type verdicts struct {
	mu  sync.Mutex
	all map[string]uploads.Verdict
	ids map[string]string
}

func (v *verdicts) quarantine(_ context.Context, id string, f uploads.File) (uploads.Verdict, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ids == nil {
		v.ids = map[string]string{}
	}
	if before := v.ids[f.Filename]; before != "" && before != id {
		return 0, fmt.Errorf("%s has the ids %s and %s", f.Filename, before, id)
	}
	v.ids[f.Filename] = id
	return v.all[f.Filename], nil
}

func (v *verdicts) set(verdict uploads.Verdict, filenames ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = map[string]uploads.Verdict{}
	}
	for _, name := range filenames {
		v.all[name] = verdict
	}
}

// id returns the id of a file that was asked about.
func (v *verdicts) id(filename string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ids[filename]
}

// listed returns the names of the files in a directory.
func listed(t testing.TB, s *uploads.Store, directory string) (all []string) {
	t.Helper()
	entries, _, err := s.List(t.Context(), directory, "", uploads.MaxList)
	if err != nil {
		t.Errorf("list: %v", err)
	}
	for _, e := range entries {
		all = append(all, e.Name)
	}
	return all
}

// quarantine stores files into quarantine. Each keeps its name and cannot be read before its
// verdict; then one is read, and the others are gone.
func quarantine(t *testing.T, place Place, large int) {
	var v verdicts
	var c calls
	var meter uploads.Counters
	s, other := place.Open(t, uploads.Options{Quarantine: v.quarantine, Stored: c.stored, Meter: &meter}), place.Open(t, uploads.Options{})
	run(t, s)
	mustPut(t, other, "q", "before", []byte("before"))
	text := map[string][]byte{"good": content(1, 1000), "large": content(2, large+1000), "bad": content(3, 1000), "removed": content(4, 1000)}
	for name, one := range text {
		if f := mustPut(t, s, "q", name, one); f.ID == "" || f.StoredErr != nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	for name, one := range text {
		for _, store := range []*uploads.Store{s, other} {
			wantNone(t, store, "q", name)
			if err := store.Check(t.Context(), "q", name); !errors.Is(err, uploads.ErrExists) {
				t.Errorf("check %s: %v", name, err)
			}
			if _, err := put(t, store, "q", name, []byte("other")); !errors.Is(err, uploads.ErrExists) {
				t.Errorf("put %s again: %v", name, err)
			}
			wantHidden(t, store, "q", name, one)
		}
	}
	if got := fmt.Sprint(listed(t, other, "q")); got != "[before]" {
		t.Errorf("in the list: %s", got)
	}
	if err := other.Remove(t.Context(), "q", "removed"); err != nil {
		t.Errorf("remove a file in quarantine: %v", err)
	}
	mustPut(t, other, "q", "removed", []byte("another"))
	v.set(uploads.VerdictPassed, "good", "large")
	v.set(uploads.VerdictFailed, "bad", "removed")
	testutil.Eventually(t, "the verdicts are carried out", func() bool {
		return len(c.list()) == 2 && other.Check(t.Context(), "q", "bad") == nil
	})
	for _, one := range c.list() {
		if name := one.f.Filename; name != "good" && name != "large" || one.id != v.id(name) {
			t.Errorf("call for %s with id %s", name, one.id)
		}
	}
	want(t, other, "q", "good", text["good"])
	want(t, other, "q", "large", text["large"])
	want(t, other, "q", "removed", []byte("another"))
	wantNone(t, other, "q", "bad")
	if got := fmt.Sprint(listed(t, other, "q")); got != "[before good large removed]" {
		t.Errorf("in the list: %s", got)
	}
	testutil.Eventually(t, "the verdicts are counted", func() bool { // after they are carried out
		got := meter.Stats()
		return got.Released == 2 && got.Rejected == 1
	})
	v.set(uploads.VerdictPending, "bad")
	mustPut(t, s, "q", "bad", []byte("the name is free again"))
}

func wantHidden(t testing.TB, s *uploads.Store, directory, filename string, text []byte) {
	t.Helper()
	f, err := s.OpenQuarantined(directory, filename)
	if err != nil {
		t.Errorf("open %s in quarantine: %v", filename, err)
		return
	}
	got, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || string(got) != string(text) {
		t.Errorf("%s in quarantine: %d bytes, %v", filename, len(got), err)
	}
}

// quarantineLater stops a server before the verdict. The next server asks for it.
func quarantineLater(t *testing.T, place Place, _ int) {
	var v verdicts
	s := place.Open(t, uploads.Options{Quarantine: v.quarantine})
	stop := run(t, s)
	for _, name := range []string{"good", "bad"} {
		mustPut(t, s, "q", name, []byte(name))
	}
	stop()
	v.set(uploads.VerdictPassed, "good")
	v.set(uploads.VerdictFailed, "bad")
	wantNone(t, s, "q", "good")
	var c calls
	next := place.Open(t, uploads.Options{Quarantine: v.quarantine, Stored: c.stored})
	run(t, next)
	testutil.Eventually(t, "the next server carries out the verdicts", func() bool {
		return len(c.list()) == 1 && next.Check(t.Context(), "q", "bad") == nil
	})
	want(t, next, "q", "good", []byte("good"))
	wantNone(t, next, "q", "bad")
}
