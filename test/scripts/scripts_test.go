package scripts_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestScripts runs test/scripts/*.txtar, a file for each behaviour. Besides the
// commands of testscript, scripts have these:
//
//	serve [VERB] [FLAGS]   start a server on free ports; sets $URL, $ADMIN and $PID
//	await TEXT             wait until the server's log contains TEXT, after the
//	                       TEXT of the previous await
//	logged REGEXP          wait until a line of the server's log matches; with !
//	                       look once
//	terminate              send TERM to the server and wait until it has ended,
//	                       with exit status 0
//	gone PID...            wait until these processes have ended
//	field PATH VALUE       check a field of the JSON on stdout: PATH is a.b.0
//	keep NAME PATH         store that field in the variable NAME
//
// The server is the last one that was started. testscript's own stop ends the
// script and not the server, so it is not allowed.
func TestScripts(t *testing.T) {
	testscript.Run(t, params(t, find(t, "test/scripts"), nil))
}

// TestScriptsOnStores runs test/scripts/stores/*.txtar on SQLite and on Redis. The
// server and the commands of a script find the store in GALE_BROKER.
func TestScriptsOnStores(t *testing.T) {
	for _, path := range find(t, "test/scripts/stores") {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name+" on sqlite", func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, params(t, []string{path}, map[string]string{"GALE_BROKER": "sqlite"}))
		})
		t.Run(name+" on redis", func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, params(t, []string{path}, map[string]string{"GALE_BROKER": redistest.Start(t).URL()}))
		})
	}
}

// find returns the scripts in a folder.
func find(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no scripts: %v", dir, err)
	}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte("\nstop\n")) {
			t.Errorf("%s: %v; stop ends the script: use terminate", path, err)
		}
	}
	return paths
}

func params(t *testing.T, files []string, env map[string]string) testscript.Params {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return testscript.Params{
		Files: files,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(harness.Binary())+":"+e.Getenv("PATH"))
			e.Setenv("TESTDATA", filepath.Join(root, "demo/inspect/testdata"))
			e.Setenv("DEPLOY", filepath.Join(root, "deploy"))
			e.Setenv("GORACE", os.Getenv("GORACE"))
			var inherited []string
			for name, value := range env {
				e.Setenv(name, value)
				inherited = append(inherited, name+"="+value)
			}
			e.Values[environKey{}] = inherited
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "await": await, "logged": logged, "terminate": terminate, "gone": gone, "field": field, "keep": keep,
		},
	}
}

// environKey is the key of the variables that servers of a script get, in the form
// of os.Environ.
type environKey struct{}
