package sqlite

import (
	"os"
	"testing"
)

// InMemory is a folder whose fsync costs nothing, for tests that measure time
// or write much: what fsync takes on a shared machine is anybody's guess.
func InMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gale-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
