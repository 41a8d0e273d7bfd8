//go:build !race

package python_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The package's own tests, each module in a process of its own.
func TestUnits(t *testing.T) {
	t.Parallel()
	var modules []string
	for _, pattern := range []string{"tests/test_*.py", "tests/*/test_*.py"} {
		found, err := filepath.Glob(filepath.Join("clients/python", pattern))
		if err != nil {
			t.Fatal(err)
		}
		modules = append(modules, found...)
	}
	if len(modules) < 3 {
		t.Fatalf("only %d modules of tests: %q", len(modules), modules)
	}
	for _, file := range modules {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "clients/python/"), ".py")
		module := strings.ReplaceAll(name, "/", ".")
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), python, "-B", "-m", "unittest", module)
			cmd.Dir = "clients/python"
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			} else if strings.Contains(string(out), "Ran 0 tests") {
				t.Fatal("the module has no tests")
			}
		})
	}
}

// pip installs the package without a network and without other packages.
func TestInstall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), python, "-m", "pip", "install", "--no-index", "--no-deps", "--target", dir, "./clients/python")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check := exec.CommandContext(t.Context(), python, "-I", "-c", `import sys; sys.path.insert(0, sys.argv[1]); import gale, gale.worker.starter as s; print(gale.__file__, s.__file__)`, dir)
	out, err := check.CombinedOutput()
	if err != nil || strings.Count(string(out), dir) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	if len(glob(t, dir, "gale/py.typed")) != 1 {
		t.Error("py.typed is not installed")
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The page on Python workers shows the tasks that its commands run.
func TestPageShowsTheTasks(t *testing.T) {
	page, err := os.ReadFile("docs/howto/write-a-python-worker.md")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("docs/example/python/tasks.py")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(module), "\"\"\"\n\n") // after its docstring
	if code == "" || !strings.Contains(string(page), "```python\n"+code+"```\n") {
		t.Errorf("the page does not contain\n%s", code)
	}
}
