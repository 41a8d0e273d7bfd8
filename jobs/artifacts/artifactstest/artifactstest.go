// Package artifactstest checks implementations of artifacts.Files.
package artifactstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs/artifacts"
)

// Run runs the suite. open returns a place without files. It closes the place at the end of
// the test.
func Run(t *testing.T, open func(t testing.TB) artifacts.Files) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, artifacts.Files){
		"a file is visible after Close":        visible,
		"a file of any size is complete":       sizes,
		"a later attempt replaces a file":      replaces,
		"readers see whole files":              whole,
		"a discarded file is not there":        discards,
		"invalid names are refused":            names,
		"expired files are removed":            expires,
		"expiry ends with an error":            expiryFails,
		"files of several tasks keep apart":    apart,
		"concurrent attempts leave one file":   races,
		"reading begins anywhere in the file":  seeks,
		"any id and name of a task is allowed": allNames,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// put stores a file.
func put(t testing.TB, files artifacts.Files, id, name, text string) {
	t.Helper()
	w, err := files.Create(t.Context(), id, name, 1)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatalf("store %s of %s: %v", name, id, err)
	}
}

// get returns the content of a file, or the error of Open.
func get(t testing.TB, files artifacts.Files, id, name string) (string, error) {
	t.Helper()
	f, err := files.Open(t.Context(), id, name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(f)
	if err != nil {
		t.Errorf("read %s of %s: %v", name, id, err)
	}
	if info := f.Info(); info.Size != int64(len(text)) || time.Since(info.Modified).Abs() > time.Hour {
		t.Errorf("%s of %s: %+v, and %d bytes", name, id, info, len(text))
	}
	return string(text), nil
}

// is checks the content of a file. An empty text means that there is none.
func is(t testing.TB, files artifacts.Files, id, name, want string) {
	t.Helper()
	text, err := get(t, files, id, name)
	if want == "" && !errors.Is(err, fs.ErrNotExist) || want != "" && (err != nil || text != want) {
		t.Errorf("%s of %s: %.40q, %v; want %.40q", name, id, text, err, want)
	}
}

func visible(t *testing.T, files artifacts.Files) {
	w, err := files.Create(t.Context(), "t", "a.txt", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one ", "", "two"} {
		if n, err := io.WriteString(w, text); n != len(text) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	is(t, files, "t", "a.txt", "")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	is(t, files, "t", "a.txt", "one two")
	if err := w.Close(); err == nil {
		t.Error("the second Close succeeds")
	}
	if _, err := io.WriteString(w, "x"); err == nil {
		t.Error("a Write after Close succeeds")
	}
	w.Discard()
	files.Clean("t")
	is(t, files, "t", "a.txt", "one two")
}

func sizes(t *testing.T, files artifacts.Files) {
	for _, size := range []int{0, 1, 5 << 20, 17<<20 + 1} {
		text := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		w, err := files.Create(t.Context(), "t", "a", 1)
		if err != nil {
			t.Fatal(err)
		}
		for rest := text; len(rest) > 0 && err == nil; {
			n := min(len(rest), 1<<20-1)
			_, err = w.Write(rest[:n])
			rest = rest[n:]
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := get(t, files, "t", "a"); err != nil || got != string(text) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
	}
}

func replaces(t *testing.T, files artifacts.Files) {
	put(t, files, "t", "a", "first")
	w, err := files.Create(t.Context(), "t", "a", 2)
	if err == nil {
		_, err = io.WriteString(w, "second")
	}
	if err != nil {
		t.Fatal(err)
	}
	is(t, files, "t", "a", "first")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	is(t, files, "t", "a", "second")
}

func whole(t *testing.T, files artifacts.Files) {
	put(t, files, "t", "a", strings.Repeat("x", 100_000))
	f, err := files.Open(t.Context(), "t", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	put(t, files, "t", "a", strings.Repeat("y", 100_000))
	text, err := io.ReadAll(f) // of the old file, or an error
	if err == nil && string(text) != strings.Repeat("x", 100_000) {
		t.Errorf("%.20q", text)
	}
}

func discards(t *testing.T, files artifacts.Files) {
	w, err := files.Create(t.Context(), "t", "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 9<<20)); err != nil {
		t.Error(err)
	}
	w.Discard()
	w.Discard()
	if err := w.Close(); err == nil {
		t.Error("Close after Discard succeeds")
	}
	files.Clean("t")
	files.Clean("none")
	is(t, files, "t", "a", "")
}

func names(t *testing.T, files artifacts.Files) {
	put(t, files, "t", "a", "x")
	for _, name := range []string{"", ".", "..", ".a", "../a", "a/b", "ü", strings.Repeat("a", 129), "a b", "a\x00"} {
		if _, err := files.Create(t.Context(), "t", name, 1); !errors.Is(err, artifacts.ErrName) {
			t.Errorf("create %q: %v", name, err)
		}
		if _, err := files.Open(t.Context(), "t", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	for _, id := range []string{"", ".", "..", "t/a", "../t", "types", "none"} {
		if _, err := files.Open(t.Context(), id, "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open a file of %q: %v", id, err)
		}
	}
}

// expire calls Expire for the tasks whose ids begin with "gone".
func expire(t *testing.T, files artifacts.Files, old time.Time) int {
	t.Helper()
	n, err := files.Expire(t.Context(), old, func(id string) (bool, error) { return strings.HasPrefix(id, "gone"), nil })
	if err != nil {
		t.Error(err)
	}
	return n
}

func expires(t *testing.T, files artifacts.Files) {
	for _, id := range []string{"gone", "gone.2", "kept"} {
		put(t, files, id, "a", id)
		put(t, files, id, "b", id)
	}
	if n := expire(t, files, time.Now().Add(-time.Hour)); n != 0 {
		t.Errorf("removed the files of %d tasks that are not old enough", n)
	}
	is(t, files, "gone", "a", "gone")
	if n := expire(t, files, time.Now().Add(time.Hour)); n != 2 {
		t.Errorf("removed the files of %d tasks", n)
	}
	for _, name := range []string{"a", "b"} {
		is(t, files, "gone", name, "")
		is(t, files, "gone.2", name, "")
		is(t, files, "kept", name, "kept")
	}
	if n := expire(t, files, time.Now().Add(time.Hour)); n != 0 {
		t.Errorf("removed the files of %d tasks again", n)
	}
	put(t, files, "gone", "a", "again")
	is(t, files, "gone", "a", "again")
}

func expiryFails(t *testing.T, files artifacts.Files) {
	put(t, files, "t", "a", "x")
	away := errors.New("store unavailable")
	n, err := files.Expire(t.Context(), time.Now().Add(time.Hour), func(string) (bool, error) { return true, away })
	if n != 0 || !errors.Is(err, away) {
		t.Errorf("%d, %v", n, err)
	}
	is(t, files, "t", "a", "x")
}

func apart(t *testing.T, files artifacts.Files) {
	put(t, files, "t", "a", "of t")
	put(t, files, "t2", "a", "of t2")
	put(t, files, "t", "b", "b of t")
	is(t, files, "t", "a", "of t")
	is(t, files, "t2", "a", "of t2")
	is(t, files, "t", "b", "b of t")
	is(t, files, "t2", "b", "")
}

func races(t *testing.T, files artifacts.Files) {
	const n = 16
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { // ends with the file
			w, err := files.Create(t.Context(), "t", "a", i)
			if err == nil {
				_, err = io.WriteString(w, strings.Repeat(fmt.Sprint(i, " "), 1000))
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text, err := get(t, files, "t", "a")
	first, _, _ := strings.Cut(text, " ")
	if err != nil || text == "" || text != strings.Repeat(first+" ", 1000) {
		t.Errorf("%.40q, %v", text, err)
	}
}

func seeks(t *testing.T, files artifacts.Files) {
	put(t, files, "t", "a", "0123456789")
	f, err := files.Open(t.Context(), "t", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	for _, at := range []int64{7, 0, 3} {
		buf := make([]byte, 3)
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(f, buf); err != nil || string(buf) != "0123456789"[at:at+3] {
			t.Errorf("at %d: %q, %v", at, buf, err)
		}
	}
}

func allNames(t *testing.T, files artifacts.Files) {
	ids := []string{".hidden", "CON", "a.b-c_d", strings.Repeat("i", 128)}
	all := []string{"NUL.txt", "-a", strings.Repeat("n", 128)}
	for _, id := range ids {
		for _, name := range all {
			put(t, files, id, name, id)
			is(t, files, id, name, id)
		}
	}
	n, err := files.Expire(t.Context(), time.Now().Add(time.Hour), func(id string) (bool, error) { return slices.Contains(ids, id), nil })
	if n != len(ids) || err != nil {
		t.Errorf("removed the files of %d tasks, %v", n, err)
	}
	for _, id := range ids {
		for _, name := range all {
			is(t, files, id, name, "")
		}
	}
}
