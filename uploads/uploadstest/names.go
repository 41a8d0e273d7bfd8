package uploadstest

import (
	"errors"
	"strings"
	"testing"

	"github.com/galeserver/gale/uploads"
)

// names stores files with unusual names and finds them again.
func names(t *testing.T, place Place, _ int) {
	s := place.Open(t, uploads.Options{})
	all := []string{
		"a b", " a", "a ", "a+b", "a%2Fb", "%2e%2e", "a&b=c?d#e", "<a>", `"a"`, "'a'", "a;b", "a,b", "a:b", "a*b|c", "a~", "ünï 音 🎵", "e\u0301", "é",
		"\ufffe", "\U0010ffff", "null", "a$b`c", "a..b", "a.", "-a", "--help", "uploads", "100%", strings.Repeat("n", 255),
	}
	for _, name := range all {
		text := []byte("content of " + name)
		mustPut(t, s, "d "+name[:min(len(name), 200)], name, text)
		want(t, s, "d "+name[:min(len(name), 200)], name, text)
		mustPut(t, s, "all", name, text)
	}
	entries, _, err := s.List(t.Context(), "all", "", 1000)
	if err != nil || len(entries) != len(all) {
		t.Errorf("%d entries of %d, %v", len(entries), len(all), err)
	}
	for _, name := range all {
		want(t, s, "all", name, []byte("content of "+name))
		if err := s.Remove(t.Context(), "all", name); err != nil {
			t.Errorf("remove %q: %v", name, err)
		}
		wantNone(t, s, "all", name)
	}
	// A name of the greatest length is stored or refused, and does not become another one.
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("l", 255)+"/", 8), "/")
	f, err := put(t, s, long, strings.Repeat("n", 255), []byte("long"))
	if err == nil {
		want(t, s, long, strings.Repeat("n", 255), []byte("long"))
	} else if f.Code != uploads.CodeInvalid {
		t.Errorf("name of 2303 bytes: %+v, %v", f, err)
	}
}

// hostile uses names that lead out of the place of the files.
func hostile(t *testing.T, place Place, _ int) {
	s := place.Open(t, uploads.Options{})
	mustPut(t, s, "d", "a", []byte("content"))
	for _, n := range [][2]string{
		{"..", "a"}, {"d/../..", "a"}, {"d/..", "a"}, {"d", ".."}, {"d", "."}, {".", "a"}, {"/d", "a"}, {"d/", "a"}, {"d//e", "a"}, {"d", "../a"}, {"d", "b/c"},
		{"d", `..\a`}, {`d\e`, "a"}, {"", "a"}, {"d", ""}, {"d", "a\x00"}, {"d", "a\nb"}, {"d\r", "a"}, {"d", "\x7f"}, {"d", "\u0085"}, {"d", "\xff"},
		{"d", ".hidden"}, {".pending", "a"}, {".incoming", "a"}, {"d", strings.Repeat("x", 256)}, {"d", strings.Repeat("x", 1024)}, {strings.Repeat("d/", 8) + "d", "a"},
		{"d", "\u202ea"}, {"d", "CON"},
	} {
		if f, err := put(t, s, n[0], n[1], []byte("evil")); !errors.Is(err, uploads.ErrName) || f.Code != uploads.CodeInvalid {
			t.Errorf("put %q: %+v, %v", n, f, err)
		}
		if u, err := s.Create(t.Context(), "", ""); err != nil {
			t.Fatal(err)
		} else {
			if _, err := u.Publish(t.Context(), n[0], n[1]); !errors.Is(err, uploads.ErrName) {
				t.Errorf("publish %q: %v", n, err)
			}
			u.Discard()
		}
		if err := s.Check(t.Context(), n[0], n[1]); !errors.Is(err, uploads.ErrName) {
			t.Errorf("check %q: %v", n, err)
		}
		if err := s.Remove(t.Context(), n[0], n[1]); !errors.Is(err, uploads.ErrName) {
			t.Errorf("remove %q: %v", n, err)
		}
		if f, err := s.Open(n[0], n[1]); !errors.Is(err, uploads.ErrName) {
			t.Errorf("open %q: %v, %v", n, f, err)
		}
		if n[0] != "" && n[0] != "d" {
			if entries, _, err := s.List(t.Context(), n[0], "", 10); !errors.Is(err, uploads.ErrName) {
				t.Errorf("list %q: %v, %v", n[0], entries, err)
			}
		}
	}
	want(t, s, "d", "a", []byte("content"))
	if entries, _, err := s.List(t.Context(), "", "", 10); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
