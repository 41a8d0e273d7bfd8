package sqlite

import (
	"os"
	"testing"
)

// InMemory returns a folder on which fsync costs nothing, for tests that measure time or
// write much: the time of fsync on a shared machine is unpredictable.
func InMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gale-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
