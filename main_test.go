package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the program under test, built once as a user builds it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gale-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "server")
	args := []string{"build", "-o", binary}
	build := exec.Command("go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if raceEnabled {
		args, build.Env = append(args, "-race"), nil
		// A race-built process otherwise sleeps a second when it exits.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	build.Args = append(build.Args, append(args, ".")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// TestScripts runs testdata/script/*.txtar, one file a behaviour. Beside
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
	data, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	scripts, _ := filepath.Glob("testdata/script/*.txtar")
	for _, path := range scripts {
		if text, err := os.ReadFile(path); err != nil || bytes.Contains(text, []byte("\nstop\n")) {
			t.Errorf("%s: %v; stop would end the script there: terminate is meant", path, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+":"+e.Getenv("PATH"))
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
	s, err := launch(ts.MkAbs("."), args...)
	ts.Check(err)
	ts.Defer(s.kill)
	ts.Setenv("URL", s.url)
	ts.Setenv("ADMIN", s.admin)
	ts.Setenv("PID", fmt.Sprint(s.cmd.Process.Pid))
	running.Store(ts.Getenv("PID"), s)
}

// running are the servers that scripts have started, by PID.
var running sync.Map

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	v, ok := running.Load(ts.Getenv("PID"))
	if !ok || len(args) != 1 {
		ts.Fatalf("usage: await TEXT, while a server runs")
	}
	s := v.(*gale)
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(10 * time.Millisecond) {
		log := s.log.String()
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
	s := v.(*gale)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(s.wait(40 * time.Second))
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
	log := v.(*gale).log
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

// gale is a running server.
type gale struct {
	cmd        *exec.Cmd
	url, admin string
	log        *logBuffer
	awaited    int // how much of the log a script has waited for
	exited     chan struct{}
	exitErr    error
}

// logBuffer is what a server has written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts a server in dir, on free ports unless args say otherwise, and
// waits until all of its slots are live.
func launch(dir string, args ...string) (*gale, error) {
	cmd := exec.Command(binary, onFreePorts(args)...)
	cmd.Dir = dir
	return launchAs(cmd)
}

// onFreePorts are the arguments of a server that listens where it will.
func onFreePorts(args []string) []string {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		args = append([]string{"serve"}, args...)
	}
	return append([]string{args[0], "-port", "0", "-admin", "127.0.0.1:0"}, args[1:]...)
}

// launchAs starts a server by a command of the caller's.
func launchAs(cmd *exec.Cmd) (*gale, error) {
	g := &gale{cmd: cmd, log: &logBuffer{}, exited: make(chan struct{})}
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		g.exitErr = g.cmd.Wait()
		close(g.exited)
	}()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if strings.Contains(g.log.String(), "msg=ready") {
			g.scan() // now, and not before: on a busy machine all of it may have come in between
			return g, nil
		}
		select {
		case <-g.exited:
			return nil, fmt.Errorf("server ended: %w\n%s", g.exitErr, g.log)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			g.kill()
			return nil, fmt.Errorf("server is not ready\n%s", g.log)
		}
	}
}

// scan finds the addresses in the log.
func (g *gale) scan() {
	for lines := bufio.NewScanner(strings.NewReader(g.log.String())); lines.Scan(); {
		for word := range strings.FieldsSeq(lines.Text()) {
			if url, ok := strings.CutPrefix(word, "url="); ok {
				g.url = url
			}
			if addr, ok := strings.CutPrefix(word, "addr="); ok && strings.Contains(lines.Text(), "admin endpoint") {
				g.admin = addr
			}
		}
	}
}

// kill ends the server and, with it, its children.
func (g *gale) kill() {
	_ = g.cmd.Process.Kill()
	<-g.exited
}

func (g *gale) wait(limit time.Duration) error {
	select {
	case <-g.exited:
		return g.exitErr
	case <-time.After(limit):
		g.kill()
		return fmt.Errorf("server did not end within %v\n%s", limit, g.log)
	}
}

// start launches a server for a test and ends it with the test.
func start(t *testing.T, dir string, args ...string) *gale {
	t.Helper()
	g, err := launch(dir, args...)
	return endWith(t, g, err)
}

// endWith ends a server with the test.
func endWith(t *testing.T, g *gale, err error) *gale {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return ending(t, g)
}

// ending ends a server with the test.
func ending(t *testing.T, g *gale) *gale {
	t.Helper()
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("server's log:\n%s", g.log)
		}
	})
	return g
}

// get fetches a page and returns its status and body.
func get(url string) (int, string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// getJSON fetches a page that must be JSON.
func getJSON(t *testing.T, url string, v any) {
	t.Helper()
	code, body, err := get(url)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status %d: %s", code, body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), v)
	}
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
}

// slotStatus is a slot in GET /status.
type slotStatus struct {
	Slot, Role, State string
	PID, Restarts     int
	RSS               int64
}

func (g *gale) slots(t *testing.T) map[string]slotStatus {
	t.Helper()
	var answer struct{ Slots []slotStatus }
	getJSON(t, "http://"+g.admin+"/status", &answer)
	bySlot := map[string]slotStatus{}
	for _, s := range answer.Slots {
		bySlot[s.Slot] = s
	}
	return bySlot
}

// patience is how long tests wait for what must happen. It is long, so that they
// pass on a machine that is busy with other work.
const patience = 2 * time.Minute

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %v: %s", patience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}
