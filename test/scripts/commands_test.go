package scripts_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// server is a server that a script has started.
type server struct {
	*harness.Server
	awaited int // length of the log up to the end of the last awaited text
}

// running holds the servers of all scripts by their PID.
var running sync.Map

func serve(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command(harness.Binary(), harness.OnFreePorts(args)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), ts.Value(environKey{}).([]string)...)
	g, err := harness.LaunchAs(cmd)
	ts.Check(err)
	ts.Defer(g.Kill)
	ts.Setenv("URL", g.URL)
	ts.Setenv("ADMIN", g.Admin)
	ts.Setenv("PID", fmt.Sprint(g.Cmd.Process.Pid))
	running.Store(ts.Getenv("PID"), &server{Server: g})
}

// current returns the server that the script has started last.
func current(ts *testscript.TestScript) *server {
	v, ok := running.Load(ts.Getenv("PID"))
	if !ok {
		ts.Fatalf("no server is running: use serve")
	}
	return v.(*server)
}

// waitFor polls until done returns true. After testutil.Patience it ends the
// script.
func waitFor(ts *testscript.TestScript, done func() bool, what func() string) {
	for end := time.Now().Add(testutil.Patience); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("timed out after %v: %s", testutil.Patience, what())
		}
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: await TEXT")
	}
	s := current(ts)
	rest := ""
	waitFor(ts, func() bool {
		rest = s.Log.String()[s.awaited:]
		at := strings.Index(rest, args[0])
		if at >= 0 {
			s.awaited += at + len(args[0])
		}
		return at >= 0
	}, func() string { return fmt.Sprintf("%q is not in the log:\n%s", args[0], rest) })
}

func logged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: logged REGEXP")
	}
	line, err := regexp.Compile(args[0])
	ts.Check(err)
	log := current(ts).Log
	if neg {
		if line.MatchString(log.String()) {
			ts.Fatalf("a line of the log matches %q:\n%s", args[0], log)
		}
		return
	}
	waitFor(ts, func() bool { return line.MatchString(log.String()) }, func() string {
		return fmt.Sprintf("no line of the log matches %q:\n%s", args[0], log)
	})
}

func terminate(ts *testscript.TestScript, neg bool, args []string) {
	s := current(ts)
	running.Delete(ts.Getenv("PID"))
	ts.Check(s.Cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(s.Wait())
}

func gone(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg {
		ts.Fatalf("usage: gone PID...")
	}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		ts.Check(err)
		waitFor(ts, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, func() string {
			return fmt.Sprintf("process %d is still there", pid)
		})
	}
}

func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field PATH VALUE")
	}
	got := lookup(ts, args[0])
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q, want %q (negated: %v) in\n%s", args[0], got, args[1], neg, ts.ReadFile("stdout"))
	}
}

func keep(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: keep NAME PATH")
	}
	ts.Setenv(args[0], lookup(ts, args[1]))
}

// lookup returns a field of the JSON on stdout: a string as it is, anything else
// as JSON.
func lookup(ts *testscript.TestScript, path string) string {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("stdout is not JSON: %v\n%s", err, ts.ReadFile("stdout"))
	}
	for key := range strings.SplitSeq(path, ".") {
		switch parent := v.(type) {
		case map[string]any:
			v = parent[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(parent) {
				ts.Fatalf("no element %s of %d", key, len(parent))
			}
			v = parent[i]
		default:
			ts.Fatalf("no field %s", path)
		}
	}
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	ts.Check(err)
	return string(text)
}
