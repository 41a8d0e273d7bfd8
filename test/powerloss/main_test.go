// Package powerloss_test drops everything that was written to disk and not synced while a
// server runs, as a power failure does, and starts a server on what is left.
//
// The state of the server is on two ext4 file systems in image files. cut shuts them down
// without writing the journal (EXT4_IOC_SHUTDOWN, which the tests of the file systems
// themselves use): what is in memory only is lost.
package powerloss_test

import (
	"os"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
