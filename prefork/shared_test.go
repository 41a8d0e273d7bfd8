package prefork

import (
	"syscall"
	"testing"

	"github.com/galeserver/gale/internal/testutil"
)

// All processes share the memory, also those that a new master starts after a reload.
func TestSharedMemoryOutlivesProcessesAndReloads(t *testing.T) {
	s := startServer(t, "count")
	s.awaitReady(t)
	if !s.logged("process 4\n") {
		t.Error("the four children do not share memory")
	}
	s.signal(syscall.SIGHUP)
	testutil.Eventually(t, "reloaded", func() bool { return s.logged("msg=reloaded") })
	if !s.logged("process 7\n") { // store.0 is not replaced
		t.Error("the children after the reload have other memory")
	}
}

func TestSharedMemoryOfAnotherSize(t *testing.T) {
	old, err := newShared(4096)
	if err != nil {
		t.Fatal(err)
	}
	old.mem[0] = 1
	same, err := resumeShared(old.descriptor(), 4096)
	if err != nil || same.mem[0] != 1 {
		t.Fatalf("the memory was not taken over: %v", err)
	}
	other, err := newShared(4096)
	if err != nil {
		t.Fatal(err)
	}
	other.mem[0] = 1
	larger, err := resumeShared(other.descriptor(), 8192)
	if err != nil || len(larger.mem) != 8192 || larger.mem[0] != 0 {
		t.Fatalf("another size: %v", err)
	}
	none, err := resumeShared(0, 0)
	if err != nil || none.descriptor() != -1 {
		t.Errorf("without memory: %v", err)
	}
	if (&Child{}).SharedMemory() != nil || testMaster(t, nil).SharedMemory() != nil {
		t.Error("memory without Options.SharedMemory")
	}
}
