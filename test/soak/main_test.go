// Package soak_test sends mixed traffic to a server for a long time, and fails if memory,
// descriptors, goroutines, keys in Redis or files grow steadily: make soak MINUTES=60.
//
// The traffic leaves a constant state behind. Tasks that have ended are kept for seven days, so
// a fixed set of tasks runs again and again; files are removed after they were stored.
package soak_test

import (
	"os"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
