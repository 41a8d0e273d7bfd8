//go:build e2e

package deploy_test

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// snapshot commits the files of this checkout, with uncommitted changes, to a new
// repository. It returns two checkouts of it in different folders.
func snapshot(t *testing.T) (first, second string) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	first = filepath.Join(t.TempDir(), "first")
	second = filepath.Join(t.TempDir(), "elsewhere", "second")
	harness.Run(t, "git", "init", "-q", first)
	git := []string{"-c", "user.name=e2e", "-c", "user.email=e2e", "--git-dir", filepath.Join(first, ".git"), "--work-tree"}
	harness.Run(t, "git", append(git, here, "add", "-A")...)
	harness.Run(t, "git", append(git, here, "commit", "-q", "-m", "as it is")...)
	harness.Run(t, "git", append(git, first, "checkout", "-q", "-f", ".")...)
	harness.Run(t, "git", "clone", "-q", first, second)
	return first, second
}

// dist runs make dist with further variables and returns the files in dist/.
func dist(t *testing.T, checkout string, environ ...string) (sums string, archives []string) {
	t.Helper()
	cmd := exec.Command("make", "-s", "dist")
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make dist: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(checkout, "dist/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	archives, err = filepath.Glob(filepath.Join(checkout, "dist/*.tar.gz"))
	if err != nil || len(archives) != 2 {
		t.Fatalf("archives: %q, %v", archives, err)
	}
	return string(text), archives
}

// TestE2EDist builds a release twice, in different folders and with different
// environments, and compares the archives. It unpacks one and checks the contents with
// the programs that read them.
func TestE2EDist(t *testing.T) {
	first, second := snapshot(t)
	sums, archives := dist(t, first)
	again, _ := dist(t, second, "TZ=Asia/Tokyo", "LC_ALL=C", "GOARM64=v9.0", "HOSTNAME=other")
	if sums != again {
		t.Errorf("two builds differ:\n%s%s", sums, again)
	}
	check := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	check.Dir = filepath.Join(first, "dist")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	commit := strings.TrimSpace(harness.Run(t, "git", "-C", first, "rev-parse", "--short=12", "HEAD"))
	for _, archive := range archives {
		dir := t.TempDir()
		harness.Run(t, "tar", "-xzf", archive, "-C", dir)
		top := filepath.Join(dir, strings.TrimSuffix(filepath.Base(archive), ".tar.gz"))
		arm := strings.HasSuffix(top, "-arm64")
		checkBinary(t, filepath.Join(top, "server"), arm, commit)
		for _, name := range []string{
			"LICENSE", "README.md", "CHANGELOG.md", "deploy/systemd/gale.service", "deploy/docker/compose.yaml", "deploy/docker/nginx.conf",
			"licenses/go/LICENSE", "licenses/modernc.org/sqlite/LICENSE", "docs/decisions/0001-process-model.md",
		} {
			if info, err := os.Stat(filepath.Join(top, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		checkComponents(t, strings.TrimSuffix(archive, ".tar.gz")+".cdx.json", filepath.Join(top, "server"))
		if !arm {
			checkManual(t, top)
			checkCompletions(t, filepath.Join(top, "completions"))
		}
	}
}

// checkBinary checks that a binary is static, is of the architecture, runs, and prints
// its commit.
func checkBinary(t *testing.T, path string, arm bool, commit string) {
	t.Helper()
	machine, command := elf.EM_X86_64, []string{path, "version"}
	if arm {
		machine, command = elf.EM_AARCH64, append([]string{"qemu-aarch64"}, command...)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); f.Machine != machine || err != nil || len(libs) > 0 {
		t.Errorf("%s: %v, libraries %q, %v", path, f.Machine, libs, err)
	}
	said := harness.Run(t, command[0], command[1:]...)
	if !strings.HasPrefix(said, "gale v") || !strings.Contains(said, commit) || strings.Contains(said, "dirty") {
		t.Errorf("%q prints %q, want commit %s", command, said, commit)
	}
}

// checkComponents compares a software bill of materials with the modules that Go has recorded
// in the binary. Each must have a licence and a checksum.
func checkComponents(t *testing.T, path, binary string) {
	t.Helper()
	var list struct {
		BOMFormat  string
		Metadata   struct{ Timestamp string }
		Components []struct {
			Name, Version string
			Hashes        []any
			Evidence      struct{ Licenses []any }
		}
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil || list.BOMFormat != "CycloneDX" || list.Metadata.Timestamp != "" {
		t.Errorf("%s: %v\n%.500s", path, err, text)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"std": info.GoVersion}
	for _, m := range info.Deps {
		want[m.Path] = m.Version
	}
	got := map[string]string{}
	for _, c := range list.Components {
		got[c.Name] = c.Version
		if c.Name != "std" && (len(c.Hashes) == 0 || len(c.Evidence.Licenses) == 0) {
			t.Errorf("%s: %s has %d checksums and %d licences", path, c.Name, len(c.Hashes), len(c.Evidence.Licenses))
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s lists %v, the binary %v", path, got, want)
	}
}

// checkManual checks a manual page with mandoc, which must print no warnings.
func checkManual(t *testing.T, top string) {
	t.Helper()
	page := filepath.Join(top, "man/man1/server.1")
	if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", page).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	if text := harness.Run(t, "mandoc", "-T", "utf8", "-O", "width=200", page); !strings.Contains(text, "tasks show ID|log ID") {
		t.Errorf("the page is\n%s", text)
	}
}

// checkCompletions types into each shell and checks the completions.
func checkCompletions(t *testing.T, dir string) {
	t.Helper()
	const bash = `source "$0/server.bash"; COMP_WORDS=($1) COMP_CWORD=$2; _gale_server server "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf %s "${COMPREPLY[*]}"`
	for _, c := range []struct{ line, at, want string }{
		{"server ta", "1", "tasks"}, {"server tasks ret", "2", "retry"}, {"server status -re", "2", "-ready"}, {"server status --re", "2", "-ready"},
		{"server -max-b", "1", "-max-body"}, {"server worker -re", "2", "-redis"}, {"server -config /etc/passw", "2", "/etc/passwd"},
		{"server --static /et", "2", "/etc"}, {"server -port 8", "2", ""}, {"server tasks -max", "2", ""},
	} {
		if got := harness.Run(t, "bash", "-c", bash, dir, c.line, c.at); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("bash: %s: %q, want %q", c.line, got, c.want)
		}
	}
	for line, want := range map[string]string{
		"server ta": "tasks\t", "server tasks ret": "retry", "server status -re": "-ready\t", "server -max-b": "-max-body\t",
		"server worker -re": "-redis\t", "server -config /etc/passw": "/etc/passwd", "server tasks -max": "",
	} {
		if got := harness.Run(t, "fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", filepath.Join(dir, "server.fish"), line); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("fish: %s: %q, want %q", line, got, want)
		}
	}
	for line, want := range map[string]string{
		`server ta\tret\t`: "tasks retry", `server status -re\t`: "status -ready", `server -open -max-b\t5`: "-open -max-body 5",
		`server worker -config /etc/passw\t`: "worker -config /etc/passwd",
	} {
		if got := strings.TrimSpace(harness.Run(t, "timeout", "20", "zsh", "-f", "test/deploy/testdata/complete.zsh", dir, line)); got != want {
			t.Errorf("zsh: %s: %q, want %q", line, got, want)
		}
	}
}
