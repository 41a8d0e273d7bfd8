package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/app/internal/process"
	"github.com/galeserver/gale/internal/testutil"
)

// program is a shell script that runs under Run.
type running struct {
	dir       string
	log       *testutil.LogBuffer
	announced chan struct{}
	ready     chan struct{}
	stop      context.CancelFunc
	ended     chan error
	memory    atomic.Int64
	dropped   atomic.Int64
}

// launch runs a script. It is stopped at the end of the test.
func launch(t *testing.T, script string, change func(*Spec, *Options)) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{dir: t.TempDir(), log: &testutil.LogBuffer{}, announced: make(chan struct{}), ready: make(chan struct{}), stop: stop, ended: make(chan error, 1)}
	s := Spec{Name: "test", Argv: []string{"sh", "-c", script}, Dir: r.dir, Queues: []string{"high", "low"}}
	o := Options{
		Slot: "test.0", URL: "unix:" + r.dir + "/socket", Path: "/usr/bin:/bin", Grace: time.Minute, BootTimeout: time.Minute,
		Announced: r.announced, Ready: func() { close(r.ready) }, Memory: &r.memory, DroppedLines: &r.dropped,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&s, &o)
	}
	go func() { r.ended <- Run(ctx, s, o) }() // ends with the program
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	return r
}

// await waits until the log contains a text.
func (r *running) await(t *testing.T, text string) {
	t.Helper()
	testutil.Eventually(t, "the log contains "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// pid waits for a file with a pid that the script writes.
func (r *running) pid(t *testing.T, name string) (pid int) {
	t.Helper()
	testutil.Eventually(t, "file "+name, func() bool {
		text, err := os.ReadFile(filepath.Join(r.dir, name))
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	return pid
}

func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") Z ")
}

func TestOutputAndEnvironment(t *testing.T) {
	t.Setenv("SECRET", "x")
	r := launch(t, `env | sort; pwd; printf 'not \377 UTF-8\n' >&2; printf 'no newline'; exit 3`, func(s *Spec, _ *Options) { s.Env = []string{"MODE=fast", "PWD=/"} })
	err := <-r.ended
	if err == nil || err.Error() != "the program has ended: exit status 3" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		`stream=stdout line="GALE_QUEUES=high,low"`, `line="GALE_URL=unix:` + r.dir + `/socket"`, `line="GALE_WORKER=test.0"`,
		`line="MODE=fast"`, `line="PATH=/usr/bin:/bin"`, "line=" + r.dir, `stream=stderr line="not ` + "\uFFFD" + ` UTF-8"`, `line="no newline"`,
	} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(r.log.String(), "SECRET") {
		t.Error("the program has the server's environment")
	}
}

func TestReadyAndStop(t *testing.T) {
	r := launch(t, `trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done`, nil)
	r.await(t, "line=up")
	select {
	case <-r.ready:
		t.Error("ready before the announcement")
	default:
	}
	close(r.announced)
	<-r.ready
	testutil.Eventually(t, "memory", func() bool { return r.memory.Load() > 100<<10 })
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.log.String(), "line=bye") || !strings.Contains(r.log.String(), `msg="program stopped"`) || r.memory.Load() != 0 {
		t.Errorf("memory %d", r.memory.Load())
	}
}

// A program must announce itself, and must not end by itself.
func TestFaultyPrograms(t *testing.T) {
	r := launch(t, "exec sleep 60", func(_ *Spec, o *Options) { o.BootTimeout = 50 * time.Millisecond })
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "has not announced itself within 50ms: it must send POST /workers/announce") {
		t.Errorf("silent program: %v", err)
	}
	r = launch(t, "exit 0", nil)
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "exit status 0: a worker must run until it gets SIGTERM") {
		t.Errorf("program that ends: %v", err)
	}
	r = launch(t, "kill -SEGV $$", nil)
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "signal: segmentation fault") {
		t.Errorf("program that crashes: %v", err)
	}
	r = launch(t, "", func(s *Spec, _ *Options) { s.Argv = []string{"no-such-program"} })
	if err := <-r.ended; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
}

// A program that ignores SIGTERM is killed after its grace period, with its process group and
// with a child that has started a session of its own.
func TestGrace(t *testing.T) {
	r := launch(t, `trap '' TERM; sleep 300 & echo $! > member; setsid sleep 300 & echo $! > left; echo up; while :; do sleep 0.05; done`,
		func(_ *Spec, o *Options) { o.Grace = 50 * time.Millisecond })
	r.await(t, "line=up")
	member, left := r.pid(t, "member"), r.pid(t, "left")
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.log.String(), "program still runs after its grace period") {
		t.Error("not logged")
	}
	if !gone(member) || !gone(left) {
		t.Errorf("process of the group ended: %t, process that has left it ended: %t", gone(member), gone(left))
	}
}

// A process that runs only the program ends also what has left the group without the
// environment of the program, and reaps orphans while the program runs.
func TestAlone(t *testing.T) {
	if err := process.AdoptOrphans(); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	r := launch(t, `(env -i setsid sh -c 'echo $$ > left; exec sleep 300' &); (sh -c 'echo $$ > brief' &); sleep 300`, func(_ *Spec, o *Options) { o.Alone = true })
	left, brief := r.pid(t, "left"), r.pid(t, "brief")
	testutil.Eventually(t, "the orphan is reaped", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", brief))
		return errors.Is(err, fs.ErrNotExist)
	})
	if gone(left) {
		t.Fatal("the process that has left ended too soon")
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if !gone(left) {
		t.Error("a process that has left the program still runs")
	}
}

// Standard input ends with the process that runs the program, and not before.
func TestStdin(t *testing.T) {
	// sh starts background commands with /dev/null as standard input.
	r := launch(t, `trap 'exit 0' TERM; exec 3<&0; (cat <&3; echo end) & echo up; wait`, nil)
	r.await(t, "line=up")
	if strings.Contains(r.log.String(), "line=end") {
		t.Error("standard input has ended")
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// Long lines are cut, and too many lines are dropped and counted.
func TestOutputLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testutil.LogBuffer{}
		dropped := new(atomic.Int64)
		o := &output{log: slog.New(slog.NewTextHandler(log, nil)), now: time.Now, dropped: dropped}
		o.copy(strings.NewReader(strings.Repeat("a", 2*maxLine)+"\nnext\r\n\n"), "stdout")
		text := log.String()
		if !strings.Contains(text, strings.Repeat("a", maxLine)+"…") || strings.Contains(text, strings.Repeat("a", maxLine+1)) || !strings.Contains(text, "line=next\n") {
			t.Errorf("%.80q… of %d bytes", text, len(text))
		}
		o.copy(strings.NewReader(strings.Repeat("x\n", maxPerSec)), "stdout") // three lines more than allowed
		if n := strings.Count(log.String(), "line=x"); n != maxPerSec-3 || dropped.Load() != 3 {
			t.Errorf("%d lines logged, %d dropped", n, dropped.Load())
		}
		time.Sleep(dropPeriod)
		o.copy(strings.NewReader("y\n"), "stdout")
		o.end()
		if !strings.Contains(log.String(), dropMessage+`" lines=3`) || !strings.Contains(log.String(), "line=y") || strings.Count(log.String(), dropMessage) != 1 {
			t.Errorf("%.200q", log.String()[len(text):])
		}
	})
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"good": 0o700, "plain": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ name, dir, want string }{
		{"sh", "", ""},
		{"./good", dir, ""},
		{dir + "/good", "", ""},
		{"./plain", dir, "is not executable"},
		{"./none", dir, "no such file"},
		{dir, "", "is a folder, not a program"},
		{"no-such-program", "", "find no-such-program: file does not exist in PATH"},
		{"sh", dir + "/none", "dir: stat"},
		{"sh", dir + "/good", "is not a folder"},
	} {
		err := Spec{Argv: []string{row.name}, Dir: row.dir}.Check("/usr/bin:/bin")
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s in %q: %v, want %q", row.name, row.dir, err, row.want)
		}
	}
}
