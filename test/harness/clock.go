package harness

import (
	endian "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/galeserver/gale/test/harness/clockstep"
)

// BuildWithClock builds the program in dir with package clockstep, and returns its path. go build
// -overlay adds the import to package main, so the other packages need not be built again.
func BuildWithClock(dir string) (string, error) {
	root, err := moduleFolder()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "clock") // the file name of the program must be server
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	source, list, program := filepath.Join(dir, "clock.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "server")
	text := "package main\n\nimport _ \"github.com/galeserver/gale/test/harness/clockstep\"\n"
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "clockstep.go"): source}})
	if err := errors.Join(err, os.WriteFile(source, []byte(text), 0o600), os.WriteFile(list, overlay, 0o600)); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-overlay", list, "-o", program, ".")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program with a clock that can be set: %w\n%s", err, out)
	}
	return program, nil
}

// Clock is the wall clock of the processes that were started with its variables.
type Clock struct {
	path   string
	offset time.Duration
}

// NewClock makes a clock with files in dir. It shows the time of the system.
func NewClock(dir string) (*Clock, error) {
	f, err := os.CreateTemp(dir, "clock-")
	if err != nil {
		return nil, err
	}
	c := &Clock{path: f.Name()}
	return c, errors.Join(f.Close(), c.Set(0))
}

// Set sets the difference from the time of the system, in whole seconds.
func (c *Clock) Set(offset time.Duration) error {
	c.offset = offset.Truncate(time.Second)
	seconds := int64(offset / time.Second)
	f, err := os.OpenFile(c.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// One write of eight bytes: a process reads the old value or the new one.
	_, err = f.WriteAt(endian.NativeEndian.AppendUint64(nil, uint64(seconds)), 0)
	return errors.Join(err, f.Close())
}

// MustSet is Set in a test.
func (c *Clock) MustSet(t *testing.T, offset time.Duration) {
	t.Helper()
	if err := c.Set(offset); err != nil {
		t.Fatal(err)
	}
}

// Now returns the time on the clock.
func (c *Clock) Now() time.Time { return time.Now().Round(0).Add(c.offset) }

// Variable is the environment variable for a program with package clockstep.
func (c *Clock) Variable() string { return clockstep.Variable + "=" + c.path }
