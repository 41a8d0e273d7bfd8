//go:build e2e

package powerloss_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/test/harness"
)

// Shutdown of an ext4 file system without a write of its journal (fs/ext4/ext4.h).
const (
	ext4Shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
	withoutJournal = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// disk is an ext4 file system in an image file.
type disk struct{ image, dir string }

// newDisk creates a file system and mounts it until the end of the test.
func newDisk(t *testing.T) disk {
	t.Helper()
	dir := t.TempDir()
	d := disk{image: filepath.Join(dir, "image"), dir: filepath.Join(dir, "mounted")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 512<<20); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", "-F", "-m", "0", d.image)
	d.mount(t)
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

// mount mounts the file system. Its journal is written only by fsync: the interval of ten
// minutes is longer than a test.
func (d disk) mount(t *testing.T) {
	t.Helper()
	command(t, "mount", "-t", "ext4", "-o", "loop,commit=600", d.image, d.dir)
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: this test needs root and loop devices\n%s", name, err, out)
	}
}

// unsynced is a file that must be lost.
const unsynced = ".unsynced"

// cut drops everything that is not synced. Later writes fail.
func (d disk) cut(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, unsynced), bytes.Repeat([]byte("x"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := unix.IoctlSetPointerInt(int(root.Fd()), ext4Shutdown, withoutJournal); err != nil {
		t.Fatalf("shut down %s: %v", d.dir, err)
	}
}

// restart mounts the file system again, when no process uses it. It fails the test if the
// file that cut did not sync has its content.
func (d disk) restart(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, d.dir+" is unmounted", func() bool { return unix.Unmount(d.dir, 0) == nil })
	d.mount(t)
	lost := filepath.Join(d.dir, unsynced)
	if info, err := os.Stat(lost); err == nil && info.Size() != 0 {
		t.Fatalf("the disk has lost nothing: %s has %d bytes", lost, info.Size())
	}
	_ = os.Remove(lost)
}

// machine is a server with its state on two disks, so that a sync of tasks does not sync
// uploads.
type machine struct {
	tasks, uploads disk
	flags          []string
	*harness.Server
}

// newMachine starts a server on new disks.
func newMachine(t *testing.T, flags ...string) *machine {
	t.Helper()
	m := &machine{tasks: newDisk(t), uploads: newDisk(t)}
	m.flags = append([]string{
		"-procs", "2", "-workers", "1", "-grace", "3s", "-data", filepath.Join(m.tasks.dir, "data"), "-upload-dir", filepath.Join(m.uploads.dir, "files"),
	}, flags...)
	m.start(t)
	return m
}

func (m *machine) start(t *testing.T) {
	t.Helper()
	m.Server = harness.Start(t, t.TempDir(), m.flags...)
}

// cutPower cuts the power of the disks and ends the server.
func (m *machine) cutPower(t *testing.T) {
	t.Helper()
	m.uploads.cut(t)
	m.tasks.cut(t)
	m.Kill()
}

// powerOn mounts the disks.
func (m *machine) powerOn(t *testing.T) {
	t.Helper()
	m.uploads.restart(t)
	m.tasks.restart(t)
}
