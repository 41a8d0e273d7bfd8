//go:build e2e

package python_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"sync"
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// debianPython is the interpreter that has Debian's python3-celery.
const debianPython = "/usr/bin/python3"

// celeryImport is an import of Celery in a module.
var celeryImport = regexp.MustCompile(`(?m)^(from|import) celery\b`)

// TestE2ECeleryBehaviours runs one application under Celery 5 with Redis, and, after its
// imports have been changed, under Gale. All that it does must have the same outcome.
func TestE2ECeleryBehaviours(t *testing.T) {
	queues := []string{"-Q", "default,other", "-c", "3"}

	celery := newProject(t, "celery")
	celery.env = append(celery.env, "C_FORCE_ROOT=1", "BROKER="+redistest.Start(t).URL()+"/0")
	celery.start(t, append([]string{"celery", "-A", "proj", "worker", "-B", "-s", filepath.Join(t.TempDir(), "beat"), "-l", "info"}, queues...)...)

	gale := newProject(t, "gale.celery")
	server := harness.Start(t, t.TempDir(), "-workers", "0")
	source, err := filepath.Abs("clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	gale.env = append(gale.env, "PYTHONPATH="+source, "GALE_URL="+server.URL)
	gale.start(t, append([]string{"gale", "worker", "proj.celery:app"}, queues...)...)

	var want, got map[string]any
	var both sync.WaitGroup
	both.Go(func() { want = celery.behaviours(t) })
	both.Go(func() { got = gale.behaviours(t) })
	both.Wait()
	if len(want) < 40 {
		t.Fatalf("%d behaviours under Celery", len(want))
	}
	for name := range want {
		t.Run(name, func(t *testing.T) {
			if !reflect.DeepEqual(got[name], want[name]) {
				t.Errorf("Celery: %v\n  Gale: %v", want[name], got[name])
			}
		})
	}
}

// project is a copy of the application in testdata.
type project struct {
	dir string
	env []string
}

// newProject copies the application; it imports its names from the given package.
func newProject(t *testing.T, pkg string) *project {
	t.Helper()
	p := &project{dir: t.TempDir()}
	if err := os.CopyFS(p.dir, os.DirFS("test/python/testdata/celery")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(p.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, celeryImport.ReplaceAll(text, []byte("$1 "+pkg)), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	p.env = append(os.Environ(), "NOTES="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	return p
}

// start starts a module of Python as a program and kills it, with its processes, at the end
// of the test. Its output is logged if the test has failed.
func (p *project) start(t *testing.T, module ...string) {
	t.Helper()
	var log testutil.LogBuffer
	cmd := exec.Command(debianPython, append([]string{"-m"}, module...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // a worker ends the processes that it has started
		_ = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%v:\n%s", module, &log)
		}
	})
}

// behaviours runs behaviours.py and returns its table.
func (p *project) behaviours(t *testing.T) (table map[string]any) {
	cmd := exec.CommandContext(t.Context(), debianPython, "behaviours.py")
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &table)
	}
	if err != nil {
		t.Errorf("behaviours.py: %v\n%s", err, out)
	}
	return table
}
