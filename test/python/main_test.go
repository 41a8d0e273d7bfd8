package python_test

import (
	"os"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// python is Debian's interpreter, without other packages than Debian's.
const python = "/usr/bin/python3"
