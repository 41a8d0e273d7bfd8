package uploadstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// create stores files of many sizes, written in pieces that fit no block size.
func create(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{})
	for i, size := range []int{0, 1, 4096, 300_000, large - 1, large, large + 1, 2*large + large/3} {
		text, name := content(uint64(i), size), fmt.Sprint(size)
		u, err := s.Create(t.Context(), "a/b", name)
		if err != nil {
			t.Fatal(err)
		}
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 123_457)
			if _, err := u.Write(t.Context(), rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		wantNone(t, s, "a/b", name)
		f, err := u.Publish(t.Context(), "a/b", name)
		if err != nil || f.Size != int64(size) || f.SHA256 != sum(text) || f.Code != uploads.CodeStored {
			t.Errorf("%+v, %v", f, err)
		}
		u.Discard()
		want(t, s, "a/b", name, text)
		if err := s.Check(t.Context(), "a/b", name); !errors.Is(err, uploads.ErrExists) {
			t.Errorf("check: %v", err)
		}
		if err := s.Check(t.Context(), "a/b", name+"x"); err != nil {
			t.Errorf("check: %v", err)
		}
	}
}

// discard ends uploads that are not published: nothing of them is left.
func discard(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{MaxFile: int64(2 * large)})
	for _, size := range []int{0, 100, large + 100} {
		u, err := s.Create(t.Context(), "d", "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(t.Context(), content(1, size)); err != nil {
			t.Fatal(err)
		}
		u.Discard()
		u.Discard()
		if _, err := u.Publish(t.Context(), "d", "a"); err == nil {
			t.Error("published after Discard")
		}
	}
	if f, err := put(t, s, "d", "a", content(1, 2*large+1)); !errors.Is(err, uploads.ErrTooLarge) || f.Code != uploads.CodeTooLarge {
		t.Errorf("over the limit: %+v, %v", f, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	u, err := s.Create(ended, "d", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	cancel()
	if _, err := u.Publish(ended, "d", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("publish after the end of the context: %v", err)
	}
	wantNone(t, s, "d", "a")
	if entries, _, err := s.List(t.Context(), "", "", 10); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// exists publishes under a name that is in use, and then under another name.
func exists(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{})
	for i, size := range []int{100, large + 100} {
		name, text := fmt.Sprint(size), content(uint64(i), size)
		mustPut(t, s, "d", name, text)
		for range 2 {
			f, err := put(t, s, "d", name, content(9, size))
			if !errors.Is(err, uploads.ErrExists) || f.Code != uploads.CodeExists || f.SHA256 != "" {
				t.Errorf("again: %+v, %v", f, err)
			}
		}
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		other := content(8, size)
		if _, err := u.Write(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Publish(t.Context(), "d", name); !errors.Is(err, uploads.ErrExists) {
			t.Errorf("publish under a used name: %v", err)
		}
		if _, err := u.Publish(t.Context(), "d/other", name); err != nil {
			t.Errorf("publish under another name: %v", err)
		}
		u.Discard()
		want(t, s, "d", name, text)
		want(t, s, "d/other", name, other)
	}
	u, err := s.Create(t.Context(), "d", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	if _, err := u.Publish(t.Context(), "d", "b"); err == nil || errors.Is(err, uploads.ErrExists) {
		t.Errorf("publish under another name than that of Create: %v", err)
	}
	wantNone(t, s, "d", "b")
}

// race publishes under one name from 32 goroutines and two stores: one of them wins.
func race(t *testing.T, place Place, large int) {
	stores := []*uploads.Store{place.Open(t, uploads.Options{}), place.Open(t, uploads.Options{})}
	for _, size := range []int{1000, large + 1000} {
		const racers = 32
		name := fmt.Sprint(size)
		var all sync.WaitGroup
		var won atomic.Int64
		won.Store(-1)
		start := make(chan struct{})
		for i := range racers {
			u, err := stores[i%2].Create(t.Context(), "d", name)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Discard()
			if _, err := u.Write(t.Context(), content(uint64(i), size)); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				<-start
				switch _, err := u.Publish(t.Context(), "d", name); {
				case err == nil && !won.CompareAndSwap(-1, int64(i)):
					t.Error("two uploads have got the name")
				case err != nil && !errors.Is(err, uploads.ErrExists):
					t.Errorf("publish: %v", err)
				}
			})
		}
		close(start)
		all.Wait()
		if won.Load() < 0 {
			t.Fatal("no upload has got the name")
		}
		for _, s := range stores {
			want(t, s, "d", name, content(uint64(won.Load()), size))
		}
	}
}

// numbered stores files whose name is chosen at the end.
func numbered(t *testing.T, place Place, large int) {
	s := place.Open(t, uploads.Options{})
	for i, name := range []string{"file.bin", "file-1.bin", "file-2.bin"} {
		text := content(uint64(i), 100+i*large)
		u, err := s.Create(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.ReadFrom(t.Context(), strings.NewReader(string(text))); err != nil {
			t.Fatal(err)
		}
		f, err := u.PublishNumbered(t.Context(), "d", "file.bin")
		if err != nil || f.Filename != name || f.SHA256 != sum(text) {
			t.Errorf("%+v, %v", f, err)
		}
		u.Discard()
		want(t, s, "d", name, text)
	}
}

// putWithID stores files with ids of the caller.
func putWithID(t *testing.T, place Place, large int) {
	var c calls
	s := place.Open(t, uploads.Options{Stored: c.stored})
	for i, size := range []int{10, large + 10} {
		id, name, text := fmt.Sprintf("ID-%d", i), fmt.Sprint(size), content(uint64(i), size)
		f, err := s.Put(t.Context(), id, uploads.Permit{Directory: "d", Filename: name}, strings.NewReader(string(text)))
		if err != nil || f.ID != id || f.SHA256 != sum(text) || len(c.list()) != i+1 || c.list()[i].id != id {
			t.Errorf("%+v, %v, calls %+v", f, err, c.list())
		}
		if f, err := s.Put(t.Context(), "OTHER", uploads.Permit{Directory: "d", Filename: name}, strings.NewReader("other")); !errors.Is(err, uploads.ErrExists) || f.Code != uploads.CodeExists {
			t.Errorf("another id: %+v, %v", f, err)
		}
		want(t, s, "d", name, text)
	}
	for _, id := range []string{"", "../x", "a\nb"} {
		if f, err := s.Put(t.Context(), id, uploads.Permit{Directory: "d", Filename: "a"}, strings.NewReader("x")); err == nil {
			t.Errorf("id %q: %+v", id, f)
		}
	}
	wantNone(t, s, "d", "a")
}
