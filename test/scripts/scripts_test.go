package scripts_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestScripts runs test/scripts/*.txtar, one file a behaviour. Beside
// testscript's own, they have these commands:
//
//	serve [flags]          start a server on free ports; sets $URL, $ADMIN, $PID
//	await TEXT             wait until the server's log holds it, behind what the
//	                       await before has found
//	terminate              TERM it, wait for its end, which must be exit 0
//	                       (testscript's own stop would end the script)
//	field PATH VALUE       stdout is JSON in which PATH (a.b.0) is VALUE
//	logged REGEXP          the server's log has, or will have, a line like that
//	keep NAME PATH         put that field of stdout into the variable NAME
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("demo/inspect/testdata")
	if err != nil {
		t.Fatal(err)
	}
	scripts, _ := filepath.Glob("test/scripts/*.txtar")
	for _, path := range scripts {
		if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte("\nstop\n")) {
			t.Errorf("%s: %v; stop would end the script there: terminate is meant", path, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "test/scripts",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(harness.Binary())+":"+e.Getenv("PATH"))
			e.Setenv("TESTDATA", data)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe, "await": scriptAwait, "terminate": scriptTerminate, "field": scriptField, "keep": scriptKeep, "logged": scriptLogged,
		},
	})
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	s, err := harness.Launch(ts.MkAbs("."), args...)
	ts.Check(err)
	ts.Defer(s.Kill)
	ts.Setenv("URL", s.URL)
	ts.Setenv("ADMIN", s.Admin)
	ts.Setenv("PID", fmt.Sprint(s.Cmd.Process.Pid))
	running.Store(ts.Getenv("PID"), &server{Server: s})
}

// server is one that a script has started.
type server struct {
	*harness.Server
	awaited int // how much of the log await has found
}

// running are the servers that scripts have started, by PID.
var running sync.Map

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	v, ok := running.Load(ts.Getenv("PID"))
	if !ok || len(args) != 1 {
		ts.Fatalf("usage: await TEXT, while a server runs")
	}
	s := v.(*server)
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(10 * time.Millisecond) {
		log := s.Log.String()
		if i := strings.Index(log[s.awaited:], args[0]); i >= 0 {
			s.awaited += i + len(args[0])
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the log never says %q:\n%s", args[0], log[s.awaited:])
		}
	}
}

func scriptTerminate(ts *testscript.TestScript, neg bool, args []string) {
	v, ok := running.LoadAndDelete(ts.Getenv("PID"))
	if !ok {
		ts.Fatalf("no server runs")
	}
	s := v.(*server)
	ts.Check(s.Cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(s.Wait(40 * time.Second))
}

func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field PATH VALUE")
	}
	got := lookup(ts, args[0])
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q, want %q (negated: %v) in\n%s", args[0], got, args[1], neg, ts.ReadFile("stdout"))
	}
}

// scriptLogged waits for a line of the log; negated it looks once, after the
// answer to a request whose line would have come first.
func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: logged REGEXP")
	}
	line, err := regexp.Compile(args[0])
	ts.Check(err)
	v, ok := running.Load(ts.Getenv("PID"))
	if !ok {
		ts.Fatalf("no server runs")
	}
	log := v.(*server).Log
	for deadline := time.Now().Add(10 * time.Second); line.MatchString(log.String()) == neg; {
		if neg || time.Now().After(deadline) {
			ts.Fatalf("a line like %q (negated: %v) in\n%s", args[0], neg, log)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: keep NAME PATH")
	}
	ts.Setenv(args[0], lookup(ts, args[1]))
}

// lookup finds a field of the JSON on stdout; strings come bare, all else as
// JSON.
func lookup(ts *testscript.TestScript, path string) string {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("stdout is no JSON: %v\n%s", err, ts.ReadFile("stdout"))
	}
	for key := range strings.SplitSeq(path, ".") {
		switch parent := v.(type) {
		case map[string]any:
			v = parent[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(parent) {
				ts.Fatalf("no element %s of %d", key, len(parent))
			}
			v = parent[i]
		default:
			ts.Fatalf("nothing at %s", path)
		}
	}
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	ts.Check(err)
	return string(text)
}
