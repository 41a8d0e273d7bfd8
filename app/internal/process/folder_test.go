package process

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// runningIn starts a process whose environment names a folder.
func runningIn(t *testing.T, f Folder) (ended chan error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + f.Path}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process, at the latest when the test does
	return ended
}

// Sweep cleans the folders of killed processes, and no others.
func TestSweep(t *testing.T) {
	temp := t.TempDir()
	lost, errLost := NewFolder(temp, "gale-")
	held, errHeld := NewFolder(temp, "gale-")
	if err := errors.Join(errLost, errHeld); err != nil {
		t.Fatal(err)
	}
	ofLost, ofHeld := runningIn(t, lost), runningIn(t, held)
	if err := lost.lock.Close(); err != nil { // as the kernel does when a process is killed
		t.Fatal(err)
	}
	clean := func(path string) error { return KillAll("HOME=" + path) }
	if err := Sweep(temp, "gale-", clean); err != nil {
		t.Fatal(err)
	}
	if err := <-ofLost; err == nil || err.Error() != "signal: killed" {
		t.Errorf("what a killed process has left ended by %v", err)
	}
	if _, err := os.Stat(lost.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	select {
	case err := <-ofHeld:
		t.Errorf("what runs was ended: %v", err)
	default:
	}
	if _, err := os.Stat(held.Path); err != nil {
		t.Error(err)
	}
	if err := held.Remove(); err != nil {
		t.Error(err)
	}
	if err := Sweep(temp, "gale-", clean); err != nil {
		t.Error(err)
	}
}
