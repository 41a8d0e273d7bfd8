package sqlite_test

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
	"github.com/galeserver/gale/jobs/sqlite"
)

// roleKey is the environment variable with the role of a test process.
const roleKey = "SQLITE_TEST_ROLE"

// TestMain runs the test binary in the role of another process of a test, with the file
// of the store.
func TestMain(m *testing.M) {
	role := os.Getenv(roleKey)
	if role == "" {
		os.Exit(m.Run())
	}
	roles := map[string]func(path string) error{
		"enqueue": enqueueForever,
		"work":    workForever,
		"open":    openOnce,
		"hold":    holdLock,
		"queue":   holdTurn,
	}
	if err := roles[role](os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is a process of the test binary in a role.
type process struct {
	*exec.Cmd
	stdin io.WriteCloser
	lines chan string // lines that it has printed; closed when it ends
}

// start runs a role until it or the test ends.
func start(t *testing.T, role, path string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], path), lines: make(chan string, 1<<16)}
	p.Env = append(os.Environ(), roleKey+"="+role, "GORACE=atexit_sleep_ms=0")
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.lines)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return // an incomplete line
			}
			p.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// kill sends SIGKILL to the process and returns the unread lines.
func (p *process) kill() (rest []string) {
	p.Process.Kill()
	for line := range p.lines {
		rest = append(rest, line)
	}
	p.Wait()
	return rest
}

// await returns the next line that the process prints.
func (p *process) await(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			t.Fatal("the process ended without output")
		}
		return line
	case <-time.After(time.Minute):
		t.Fatal("the process printed nothing")
	}
	return ""
}

var stdout sync.Mutex

// say prints a line in one write, so that a kill does not leave an incomplete line.
func say(line string) {
	stdout.Lock()
	defer stdout.Unlock()
	os.Stdout.WriteString(line + "\n")
}

// inParallel runs fn in n goroutines until one fails.
func inParallel(n int, fn func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- fn(i) }() // ends with the process
	}
	return <-errs
}

// enqueueForever prints each id once it is accepted.
func enqueueForever(path string) error {
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return err
	}
	say("ready")
	return inParallel(8, func(i int) error {
		for n := 0; ; n++ {
			id := fmt.Sprintf("p%d-%d-%d", os.Getpid(), i, n)
			if _, _, err := s.Enqueue(context.Background(), jobs.NewTask{ID: id, Name: "work"}); err != nil {
				return err
			}
			say(id)
		}
	})
}

// workForever finishes tasks, each with a next task named after task and attempt, and
// prints what it has finished.
func workForever(path string) error {
	s, err := sqlite.Open(path, workOptions)
	if err != nil {
		return err
	}
	say("ready")
	owner := fmt.Sprint("p", os.Getpid())
	return inParallel(4, func(int) error {
		for {
			leases, err := s.Lease(context.Background(), work(owner, 8))
			if err != nil {
				return err
			}
			for _, l := range leases {
				switch err := finishWithNext(s, l); {
				case errors.Is(err, jobs.ErrLeaseLost): // on a busy machine
				case err != nil:
					return err
				default:
					say(l.Task.ID)
				}
			}
		}
	})
}

// The leases of a killed worker expire soon, and no task becomes dead.
var workOptions = sqlite.Options{LeaseTTL: 300 * time.Millisecond, MaxLost: 1000}

func work(owner string, max int) driver.LeaseRequest {
	return driver.LeaseRequest{Owner: owner, Queues: []string{"default"}, Names: []string{"work"}, Max: max}
}

func finishWithNext(s *sqlite.Store, l *driver.Lease) error {
	next := jobs.NewTask{ID: fmt.Sprintf("%s.next.%d", l.Task.ID, l.Attempt), Name: "next"}
	err := s.Finish(context.Background(), l, driver.Outcome{
		State: jobs.StateSuccess, Result: json.RawMessage(fmt.Sprint(l.Attempt)), Next: []jobs.NewTask{next},
	})
	if err != nil {
		return fmt.Errorf("finish %s: %w", l.Task.ID, err)
	}
	return nil
}

// openOnce waits until stdin ends and then opens the store. The test uses this to make many
// processes open it at the same time.
func openOnce(path string) error {
	say("ready")
	io.Copy(io.Discard, os.Stdin)
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return err
	}
	if _, _, err := s.Enqueue(context.Background(), jobs.NewTask{ID: fmt.Sprint("p", os.Getpid()), Name: "work"}); err != nil {
		return err
	}
	say("done")
	return s.Close()
}

// holdLock holds SQLite's write lock until stdin ends.
func holdLock(path string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	say("held")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

func temp(t testing.TB) string { return filepath.Join(t.TempDir(), "jobs.db") }

func open(t testing.TB, path string, o sqlite.Options) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// accept enqueues tasks one after the other.
func accept(t testing.TB, s *sqlite.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: id, Name: "work"}); err != nil {
			t.Fatal(err)
		}
	}
}

// fill enqueues the tasks t0 to t(n-1), many at once.
func fill(t testing.TB, s *sqlite.Store, n int) {
	t.Helper()
	var next atomic.Int64
	err := callers(256, func() error {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			if _, _, err := s.Enqueue(t.Context(), jobs.NewTask{ID: fmt.Sprint("t", i), Name: "work"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// callers runs fn in n goroutines at once and returns their first error.
func callers(n int, fn func() error) error {
	errs := make(chan error, n)
	for range n {
		go func() { errs <- fn() }() // waited for below
	}
	var first error
	for range n {
		first = cmp.Or(first, <-errs)
	}
	return first
}

// raw opens the file as another SQLite program would.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// wantSound fails if SQLite reports damage in the file.
func wantSound(t *testing.T, path string) {
	t.Helper()
	var result string
	if err := raw(t, path).QueryRow("PRAGMA integrity_check").Scan(&result); err != nil || result != "ok" {
		t.Errorf("integrity check: %s, %v", result, err)
	}
}
