// Package harness runs the program for tests as users run it: it builds the binary, starts
// servers on free ports and contains clients of several kinds.
//
// A test package calls Main in its TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
//
// Its tests run in the folder of the module, so their paths are relative to the
// root of the repository.
package harness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// binary is the path of the program under test.
var binary string

// Binary returns the path of the program under test. Its file name is server.
func Binary() string { return binary }

// Main builds the program, changes to the folder of the module, runs the tests
// and returns their exit status.
func Main(m *testing.M) (code int) {
	if RaceEnabled {
		// By default a process under the race detector sleeps a second when it exits.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	root, err := moduleFolder()
	if err == nil {
		err = os.Chdir(root)
	}
	var b *build
	if err == nil {
		b, err = newBuild(root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "test harness:", err)
		return 1
	}
	defer b.remove()
	binary = filepath.Join(b.own, "server")
	return m.Run()
}

// moduleFolder returns the nearest folder with a go.mod, upwards from the working
// directory: go test runs tests in the folder of their package.
func moduleFolder() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
	return "", err
}

// build is a binary that the test packages of a checkout share. Each package has
// its own hard link to it, which a later build does not change.
type build struct {
	root   string
	shared string // folder of the shared binary
	own    string // folder of this process
}

// newBuild builds the program as make build does. go build decides whether the
// shared binary is up to date.
func newBuild(root string) (*build, error) {
	kind, args, env := "plain", []string{"build", "-o"}, append(os.Environ(), "CGO_ENABLED=0")
	if RaceEnabled {
		kind, args, env = "race", []string{"build", "-race", "-o"}, nil
	}
	name := fmt.Sprintf("gale-test-%d-%x-%s", os.Getuid(), sha256.Sum256([]byte(root)), kind)
	b := &build{root: root, shared: filepath.Join(os.TempDir(), name)}
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := b.makeShared(); err != nil {
		return nil, err
	}
	shared := filepath.Join(b.shared, "server")
	cmd := exec.Command("go", append(args, shared, ".")...)
	cmd.Dir, cmd.Env = root, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	if b.own, err = os.MkdirTemp(b.shared, "run-"); err != nil {
		return nil, err
	}
	return b, os.Link(shared, filepath.Join(b.own, "server"))
}

// makeShared makes the shared folder. It must belong to this user.
func (b *build) makeShared() error {
	if err := os.Mkdir(b.shared, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(b.shared)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		return fmt.Errorf("%s does not belong to this user or is not a folder: remove it", b.shared)
	}
	return nil
}

// lock waits until no other process builds for this checkout. It locks the folder
// of the module, so there is no lock file to remove.
func (b *build) lock() (unlock func(), err error) {
	folder, err := os.Open(b.root)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = folder.Close()
		return nil, fmt.Errorf("lock %s: %w", b.root, err)
	}
	return func() { _ = folder.Close() }, nil
}

// remove deletes the link of this process, and the shared binary if no other
// process has a link.
func (b *build) remove() {
	_ = os.RemoveAll(b.own)
	unlock, err := b.lock()
	if err != nil {
		return
	}
	defer unlock()
	info, err := os.Stat(filepath.Join(b.shared, "server"))
	if err == nil && info.Sys().(*syscall.Stat_t).Nlink == 1 {
		_ = os.RemoveAll(b.shared)
	}
}
