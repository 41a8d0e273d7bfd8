package command

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// runningIn starts a process with the environment of a command that runs in a folder.
func runningIn(t *testing.T, f folder) (ended chan error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "ARTIFACTS=" + f.artifacts()}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, at the latest when the test does
	return ended
}

// Sweep ends the commands of a killed worker, and no others.
func TestSweep(t *testing.T) {
	temp := t.TempDir()
	lost, errLost := newFolder(temp)
	held, errHeld := newFolder(temp)
	if err := errors.Join(errLost, errHeld); err != nil {
		t.Fatal(err)
	}
	ofLost, ofHeld := runningIn(t, lost), runningIn(t, held)
	if err := lost.lock.Close(); err != nil { // as the kernel does when a worker is killed
		t.Fatal(err)
	}
	if err := Sweep(temp); err != nil {
		t.Fatal(err)
	}
	if err := <-ofLost; err == nil || err.Error() != "signal: killed" {
		t.Errorf("what a killed worker has left ended by %v", err)
	}
	if _, err := os.Stat(lost.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	select {
	case err := <-ofHeld:
		t.Errorf("what runs was ended: %v", err)
	default:
	}
	if _, err := os.Stat(held.path); err != nil {
		t.Error(err)
	}
	if err := held.remove(); err != nil {
		t.Error(err)
	}
	if err := Sweep(temp); err != nil {
		t.Error(err)
	}
}
