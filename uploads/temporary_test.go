package uploads

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// writerEnv makes the test binary a process that writes a file into the named folder.
const writerEnv = "GALE_TEST_UPLOADS_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		if err := writeUntilStdinEnds(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if what := strings.SplitN(os.Getenv(crashEnv), " ", 3); len(what) == 3 {
		fmt.Fprintln(os.Stderr, "not stopped:", storeUntilStopped(what[0], what[1], what[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilStdinEnds is another server: it writes half a file, waits for the end of its
// standard input and then publishes the file.
func writeUntilStdinEnds(dir string) error {
	sys := realSyscalls()
	withoutUnnamed(&sys)
	s, err := open(dir, Options{}, sys)
	if err != nil {
		return err
	}
	u, err := s.createUpload(context.Background(), "", "", "")
	if err != nil {
		return err
	}
	if _, err := u.Write(context.Background(), make([]byte, 1<<20)); err != nil {
		return err
	}
	fmt.Println(u.file.(*diskFile).temporary)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	_, err = u.Publish(context.Background(), "d", "survived")
	return err
}

type process struct {
	*exec.Cmd
	stdin     io.Closer
	temporary string
}

// startWriter starts a writer process and returns when that has written half its file.
func startWriter(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // fails if the process has ended
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("no line from the writer: %v", err)
	}
	return &process{cmd, stdin, line[:len(line)-1]}
}

func TestSweepKeepsFilesOfRunningProcesses(t *testing.T) {
	dir := t.TempDir()
	dead, alive := startWriter(t, dir), startWriter(t, dir)
	own := filepath.Join(dir, incoming, "own")
	if err := os.Mkdir(own, 0o700); err != nil { // not made by a store
		t.Fatal(err)
	}
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = dead.Wait() // killed
	for _, p := range []*process{dead, alive} {
		if info, err := os.Stat(filepath.Join(dir, p.temporary)); err != nil || info.Size() != 1<<20 {
			t.Fatalf("before the sweep: %v", err)
		}
	}

	openStore(t, dir, Options{})
	if _, err := os.Lstat(filepath.Join(dir, dead.temporary)); !os.IsNotExist(err) {
		t.Errorf("temporary file of the killed process: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, alive.temporary)); err != nil {
		t.Errorf("temporary file of the running process: %v", err)
	}
	if _, err := os.Lstat(own); err != nil {
		t.Errorf("folder of somebody else: %v", err)
	}

	if err := alive.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := alive.Wait(); err != nil {
		t.Fatalf("the running writer: %v", err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "d", "survived"))
	if err != nil || !bytes.Equal(content, make([]byte, 1<<20)) {
		t.Errorf("its file: %d bytes, %v", len(content), err)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, incoming)); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A sweep of another process may lock or remove a temporary file before its writer has
// locked it. Then the writer creates another one.
func TestTemporaryRemovedBySweep(t *testing.T) {
	for _, moment := range []string{"it holds the lock", "it was quicker"} {
		t.Run(moment, func(t *testing.T) {
			dir := t.TempDir()
			var other *Store
			s := openStore(t, dir, Options{}, withoutUnnamed, func(c *syscalls) {
				lock := c.lock
				c.lock = func(f *os.File) error {
					if other == nil {
						return lock(f)
					}
					sweeper := other
					other = nil
					if moment == "it holds the lock" {
						return unix.EWOULDBLOCK
					}
					if err := sweeper.disk.sweep(); err != nil {
						t.Error(err)
					}
					return lock(f)
				}
			})
			other = openStore(t, dir, Options{})
			mustPut(t, s, "d", "a", "content")
			if other != nil {
				t.Error("nothing was locked")
			}
		})
	}
}

func TestIncomingRemoved(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{}, withoutUnnamed)
	if err := os.Remove(filepath.Join(s.disk.root.Name(), incoming)); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "d", "a", "content")
}

// Without O_TMPFILE and without locks, a sweep could not distinguish files of running
// and killed processes. So Open must fail.
func TestOpenNeedsLocksForNamedTemporaries(t *testing.T) {
	sys := realSyscalls()
	withoutUnnamed(&sys)
	sys.lock = func(*os.File) error { return unix.ENOLCK }
	dir := t.TempDir()
	if _, err := open(dir, Options{}, sys); err == nil {
		t.Error("opened")
	}
	if left := tree(t, dir); len(left) != 2 {
		t.Errorf("left %v", left)
	}
}
