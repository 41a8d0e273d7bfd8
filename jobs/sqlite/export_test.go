package sqlite

import (
	"os"
	"testing"
)

// InMemory returns a folder in memory, where fsync takes no time. It is for tests that
// measure time or write much, because the time of fsync on a shared disk is unpredictable.
func InMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gale-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
