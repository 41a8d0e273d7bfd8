package uploads

import (
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostileNames are pairs of directory and filename that CheckName must refuse.
var hostileNames = [][2]string{
	{"", "a"}, {"d", ""}, {"", ""},
	{"..", "a"}, {".", "a"}, {"d", ".."}, {"d", "."}, {"../d", "a"}, {"d/..", "a"}, {"d/../..", "a"}, {"d/./e", "a"},
	{"d", "../a"}, {"d", "../../outside/canary"}, {"d", "sub/a"}, {"d", "/a"}, {"d", "a/"},
	{"/", "a"}, {"/etc", "passwd"}, {"//d", "a"}, {"d/", "a"}, {"d//e", "a"}, {"/d", "a"},
	{`..\..`, "a"}, {"d", `..\..\evil.txt`}, {"d", `a\(b`}, {`d\e`, "a"}, {"d", `C:\a`}, {"d", `\\host\share`},
	{".hidden", "a"}, {"d", ".htaccess"}, {"d/.git", "config"}, {incoming, "a"}, {"d", "...."},
	{"d", "a\x00b"}, {"d", "a\nb"}, {"d\r\n", "a"}, {"d", "\x1b[2J"}, {"d", "a\x7f"}, {"d", "a\u0085b"}, {"d", "a\u009fb"},
	{"d", "\xff\xfe"}, {"d", "a\xc0\xafb"}, {"d", "a\xed\xa0\x80"}, {"\xff", "a"},
	{"d", "a\u202egpj.exe"}, {"d", "a\u2066b"}, {"d", "a\u200fb"}, {"d", "a\u2028b"}, {"d", "a\u2029b"},
	{"d", "CON"}, {"d", "nul"}, {"d", "Com1.txt"}, {"d", "LPT9"}, {"d", "lpt².a.b"}, {"d", "aux .mp3"}, {"PRN", "a"}, {"d/com0", "a"}, {"d", "conin$"},
	{"d", strings.Repeat("x", 256)}, {strings.Repeat("x", 256), "a"}, {"d", strings.Repeat("é", 128)},
	{"1/2/3/4/5/6/7/8/9", "a"}, {strings.Repeat("d/", 5000) + "d", "a"},
}

var acceptableNames = [][2]string{
	{"d", "a"}, {"1/2/3/4/5/6/7/8", "a"}, {"d", strings.Repeat("x", 255)}, {strings.Repeat("é", 127), "a"},
	{"music", "Sigur Rós – ( ).mp3"}, {"音楽", "録音 01.wav"}, {"d", "नमस्ते\u200d.txt"}, {"d", "👩\u200d🚀.png"},
	{"d", "a b"}, {"d", "a..b"}, {"d", "a."}, {"d", "~"}, {"d", "-rf"}, {"d", `a"b`}, {"d", "a%22b"}, {"d", "%2e%2e%2fa"},
	{"d", "CONSOLE"}, {"d", "com10"}, {"d", "com"}, {"d", "nullable"}, {"d", "a.nul"}, {"d", "$(id)"}, {"d", "a:b"},
}

func TestCheckName(t *testing.T) {
	for _, n := range hostileNames {
		err := CheckName(n[0], n[1])
		if !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", n, err)
			continue
		}
		if code, reason := codeAndReason(err); code != CodeInvalid || !strings.HasPrefix(reason, "unacceptable name: ") || !utf8.ValidString(reason) {
			t.Errorf("%q: %d %q", n, code, reason)
		}
	}
	for _, n := range acceptableNames {
		if err := CheckName(n[0], n[1]); err != nil {
			t.Errorf("%q: %v", n, err)
		}
	}
}

// storeWithNeighbours opens a store in a folder that contains other files too. In the
// store there are symbolic links out of it, to a file, to nothing and to themselves.
func storeWithNeighbours(t testing.TB, o Options, change ...func(*syscalls)) (s *Store, parent string) {
	t.Helper()
	parent = t.TempDir()
	s = openStore(t, filepath.Join(parent, "up"), o, change...)
	for _, dir := range []string{"outside", "up/real"} {
		if err := os.MkdirAll(filepath.Join(parent, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"outside/canary", "canary", "up/real/a", "up/file"} {
		if err := os.WriteFile(filepath.Join(parent, file), []byte("untouched"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"up/out": "../outside", "up/absolute": filepath.Join(parent, "outside"), "up/in": "real",
		"up/nowhere": "none", "up/loop": "loop", "up/dots": "real/../..",
		"up/real/out": "../../outside/canary", "up/real/in": "a", "up/real/nowhere": "none", "up/real/new": "../../outside/new",
	} {
		if err := os.Symlink(target, filepath.Join(parent, link)); err != nil {
			t.Fatal(err)
		}
	}
	return s, parent
}

func TestHostileNames(t *testing.T) {
	eachStoreWithNeighbours(t, func(t *testing.T, s *Store, parent string) {
		before := tree(t, parent)
		for _, n := range hostileNames {
			if err := s.Check(t.Context(), n[0], n[1]); !errors.Is(err, ErrName) {
				t.Errorf("Check(%q): %v", n, err)
			}
			if f, err := put(t, s, n[0], n[1], "evil"); !errors.Is(err, ErrName) || f.Code != CodeInvalid {
				t.Errorf("Publish(%q): %+v, %v", n, f, err)
			}
			if _, err := s.Open(n[0], n[1]); !errors.Is(err, ErrName) {
				t.Errorf("Open(%q): %v", n, err)
			}
			if err := s.Remove(t.Context(), n[0], n[1]); !errors.Is(err, ErrName) {
				t.Errorf("Remove(%q): %v", n, err)
			}
		}
		wantUnchanged(t, parent, before)
	})
}

func TestSymbolicLinks(t *testing.T) {
	eachStoreWithNeighbours(t, func(t *testing.T, s *Store, parent string) {
		before := tree(t, parent)
		for _, dir := range []string{"out", "absolute", "in", "nowhere", "loop", "dots", "out/deeper", "in/deeper"} {
			if f, err := put(t, s, dir, "canary", "evil"); !errors.Is(err, ErrName) || f.Code != CodeInvalid || !strings.Contains(f.Reason, "symbolic link") {
				t.Errorf("Publish through %s: %+v, %v", dir, f, err)
			}
			if err := s.Check(t.Context(), dir, "a"); !errors.Is(err, ErrName) {
				t.Errorf("Check through %s: %v", dir, err)
			}
			for _, name := range []string{"a", "canary"} {
				if _, err := s.Open(dir, name); !errors.Is(err, ErrName) {
					t.Errorf("Open through %s: %v", dir, err)
				}
				if err := s.Remove(t.Context(), dir, name); !errors.Is(err, ErrName) {
					t.Errorf("Remove through %s: %v", dir, err)
				}
			}
		}
		for _, name := range []string{"out", "in", "nowhere", "new", "a"} {
			if f, err := put(t, s, "real", name, "evil"); !errors.Is(err, ErrExists) || f.Code != CodeExists {
				t.Errorf("Publish over %s: %+v, %v", name, f, err)
			}
			if err := s.Check(t.Context(), "real", name); !errors.Is(err, ErrExists) {
				t.Errorf("Check of %s: %v", name, err)
			}
			if name == "a" {
				continue
			}
			if _, err := s.Open("real", name); !errors.Is(err, ErrName) {
				t.Errorf("Open of %s: %v", name, err)
			}
			if err := s.Remove(t.Context(), "real", name); !errors.Is(err, ErrName) {
				t.Errorf("Remove of %s: %v", name, err)
			}
		}
		if f, err := put(t, s, "file/sub", "a", "evil"); !errors.Is(err, ErrExists) {
			t.Errorf("Publish below a file: %+v, %v", f, err)
		}
		wantUnchanged(t, parent, before)
	})
}

func eachStoreWithNeighbours(t *testing.T, test func(t *testing.T, s *Store, parent string)) {
	for kind, change := range storeKinds {
		t.Run(kind, func(t *testing.T) {
			s, parent := storeWithNeighbours(t, Options{}, change)
			test(t, s, parent)
		})
	}
}

// A folder may be replaced by a symbolic link between its check and its opening. os.Root
// does not follow the link out of the root, and the opened folder must be the checked
// one.
func TestFolderReplacedByLink(t *testing.T) {
	for _, target := range []string{"../outside", "real"} {
		t.Run(target, func(t *testing.T) {
			s, parent := storeWithNeighbours(t, Options{}, func(c *syscalls) {
				c.opendir = func(root *os.Root, name string) (*os.Root, error) {
					if err := errors.Join(root.Remove(name), root.Symlink(target, name)); err != nil {
						t.Error(err)
					}
					return root.OpenRoot(name)
				}
			})
			before := tree(t, parent)
			f, err := put(t, s, "swapped", "evil", "evil")
			if !errors.Is(err, ErrName) || f.Code != CodeInvalid {
				t.Errorf("%+v, %v", f, err)
			}
			before["up/swapped"] = "-> " + target
			wantUnchanged(t, parent, before)
		})
	}
}

func FuzzCheckName(f *testing.F) {
	for _, n := range hostileNames {
		f.Add(n[0], n[1])
	}
	for _, n := range acceptableNames {
		f.Add(n[0], n[1])
	}
	s, parent := storeWithNeighbours(f, Options{})
	before := tree(f, parent)
	f.Fuzz(func(t *testing.T, directory, filename string) {
		ok := CheckName(directory, filename) == nil
		name := directory + "/" + filename
		if ok && (!filepath.IsLocal(name) || path.Clean(name) != name || !utf8.ValidString(name) || strings.Contains(name, "/.") || strings.Contains(name, `\`)) {
			t.Errorf("%q is acceptable", name)
		}
		file, err := put(t, s, directory, filename, "fuzz")
		if !ok && !errors.Is(err, ErrName) {
			t.Errorf("%q refused, then %v", name, err)
		}
		if file.Code == CodeInternal {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil {
			if content, err := os.ReadFile(filepath.Join(parent, "up", name)); string(content) != "fuzz" {
				t.Errorf("%q is not there: %v", name, err)
			}
			removePublished(t, filepath.Join(parent, "up"), name, before)
		}
		if after := tree(t, parent); !maps.Equal(before, after) {
			t.Fatalf("%q changed more than itself: %v, then %v", name, before, after)
		}
	})
}

// removePublished removes a published file and the folders that were created for it.
func removePublished(t testing.TB, root, name string, before map[string]string) {
	t.Helper()
	for ; name != "."; name = path.Dir(name) {
		if _, kept := before["up/"+name]; kept {
			return
		}
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
}
