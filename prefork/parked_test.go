package prefork

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// inherit returns the listeners of the next master, which inherits only the descriptors
// of the previous one.
func inherit(t *testing.T, from *parkedListeners) *parkedListeners {
	t.Helper()
	next := &parkedListeners{open: map[string]net.Listener{}, inherited: map[string]int{}}
	for name, fd := range from.descriptors() {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		next.inherited[name] = dup
		if u, ok := from.open[name].(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		_ = from.open[name].Close()
	}
	return next
}

func TestParkedListenersOverAReload(t *testing.T) {
	first := &parkedListeners{open: map[string]net.Listener{}}
	kept, dropped := filepath.Join(t.TempDir(), "kept"), filepath.Join(t.TempDir(), "dropped")
	for _, path := range []string{kept, dropped} {
		if _, err := first.listen(t.Context(), "unix", path); err != nil {
			t.Fatal(err)
		}
	}
	next := inherit(t, first)
	ln, err := next.listen(t.Context(), "unix", kept)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if !next.closeUnclaimed() || next.closeUnclaimed() {
		t.Error("want one unclaimed socket, and then none")
	}
	if _, err := os.Stat(dropped); !os.IsNotExist(err) {
		t.Errorf("file of the unclaimed socket: %v; want it removed", err)
	}
	conn, err := net.Dial("unix", kept)
	if err != nil {
		t.Fatalf("the claimed socket does not listen: %v", err)
	}
	_ = conn.Close()
	if fds := next.descriptors(); len(fds) != 1 || fds["unix "+kept] < 0 {
		t.Errorf("descriptors %v; want that of the claimed socket", fds)
	}
}

// An inherited socket with another name may use the address of a new one. It is closed
// first.
func TestParkedListenerGetsAnotherName(t *testing.T) {
	first := &parkedListeners{open: map[string]net.Listener{}}
	ln, err := first.listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String() // another name than 127.0.0.1:0
	next := inherit(t, first)
	renamed, err := next.listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("%v; want the inherited socket to be closed first", err)
	}
	_ = renamed.Close()
	if len(next.inherited) != 0 {
		t.Errorf("still inherited: %v", next.inherited)
	}
}
