package programs_test

import (
	"os"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

// TestMain runs the tests, or a worker program if a server has started this binary.
func TestMain(m *testing.M) {
	if os.Getenv("GALE_WORKER") != "" {
		os.Exit(runWorker(os.Args[1]))
	}
	_ = os.Setenv("SECRET", "x") // programs must not get it
	os.Exit(harness.Main(m))
}
